"""How egress talks to Kafka: one place for the settings of its consumers and producers."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.helpers import create_ssl_context

from linkspan.kernel.topics import MAX_RECORD_BYTES

log = structlog.get_logger()

_SESSION_MS = 15_000
_HEARTBEAT_MS = 3_000
_POLL_INTERVAL_MS = 7 * 24 * 3600 * 1000
_FETCH_BYTES = 2 * (MAX_RECORD_BYTES + 128 * 1024)


class KafkaClients:
    """``servers`` is ``host:port,…``; nothing connects before its ``start``."""

    def __init__(self, servers: str, *, tls: bool = False) -> None:
        self._common: dict[str, Any] = {"bootstrap_servers": servers, "client_id": "linkspan-egress"}
        if tls:
            self._common |= {"security_protocol": "SSL", "ssl_context": create_ssl_context()}

    def group(self, group_id: str, **options: Any) -> AIOKafkaConsumer:
        """A member that commits by hand; a partition without a position is an error, never a guess."""
        settings: dict[str, Any] = {
            "group_id": group_id,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "partition_assignment_strategy": [RangePartitionAssignor],
            "session_timeout_ms": _SESSION_MS,
            "rebalance_timeout_ms": _SESSION_MS,
            "heartbeat_interval_ms": _HEARTBEAT_MS,
            "max_poll_interval_ms": _POLL_INTERVAL_MS,
            "max_partition_fetch_bytes": _FETCH_BYTES,
        }
        return AIOKafkaConsumer(**self._common, **(settings | options))

    def reader(self) -> AIOKafkaConsumer:
        """Without a group: it reads what it is assigned from where it is told."""
        return AIOKafkaConsumer(
            **self._common,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=100,
        )

    def producer(self, **options: Any) -> AIOKafkaProducer:
        return AIOKafkaProducer(**self._common, acks="all", enable_idempotence=True, **options)

    def admin(self) -> AIOKafkaAdminClient:
        return AIOKafkaAdminClient(**self._common, request_timeout_ms=10_000)


async def stop_consumer(consumer: AIOKafkaConsumer, limit: float = 5.0) -> None:
    """Leaves its group; where Kafka is away that is given up after ``limit`` seconds."""
    stopping = asyncio.create_task(consumer.stop())
    done, _ = await asyncio.wait({stopping}, timeout=limit)
    if not done:
        stopping.cancel()
    elif error := stopping.exception():
        log.debug("a consumer did not stop cleanly", error=repr(error))
