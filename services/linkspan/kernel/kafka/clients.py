"""How egress talks to Kafka: one place for the settings of its consumers and producers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from aiokafka.helpers import create_ssl_context

from linkspan.kernel.kafka.timing import Timing
from linkspan.kernel.topics import MAX_RECORD_BYTES

log = structlog.get_logger()

_POLL_INTERVAL_MS = 7 * 24 * 3600 * 1000
_RECORD_BYTES = MAX_RECORD_BYTES + 128 * 1024
_FETCH_BYTES = 2 * _RECORD_BYTES
#: Of a partition, fetched before the window has room for it; Kafka gives a larger record nevertheless. It is kept in
#: memory for as long as the destination is away.
_AHEAD_BYTES = 256 * 1024
_TRANSACTION_MS = 15_000

_discarding: set[asyncio.Task[None]] = set()


class KafkaClients:
    """``servers`` is ``host:port,…``; nothing connects before its ``start``."""

    def __init__(
        self, servers: str, *, tls: bool = False, timing: Timing | None = None, name: str = "linkspan-egress"
    ) -> None:
        self._common: dict[str, Any] = {"bootstrap_servers": servers, "client_id": name}
        self.timing = timing or Timing()
        if tls:
            self._common |= {"security_protocol": "SSL", "ssl_context": create_ssl_context()}

    def group(self, group_id: str, **options: Any) -> AIOKafkaConsumer:
        """A member that commits by hand; a partition without a position is an error, never a guess."""
        session_ms = int(self.timing.session * 1000)
        settings: dict[str, Any] = {
            "group_id": group_id,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "partition_assignment_strategy": [RangePartitionAssignor],
            "session_timeout_ms": session_ms,
            "rebalance_timeout_ms": session_ms,
            "heartbeat_interval_ms": int(self.timing.heartbeat * 1000),
            "max_poll_interval_ms": _POLL_INTERVAL_MS,
            "max_partition_fetch_bytes": _AHEAD_BYTES,
        }
        return AIOKafkaConsumer(**self._common, **(settings | options))

    def reader(self, **options: Any) -> AIOKafkaConsumer:
        """Without a group: it reads what it is assigned from where it is told, nothing of an unfinished transaction."""
        settings: dict[str, Any] = {
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            "max_partition_fetch_bytes": _FETCH_BYTES,
            "fetch_max_wait_ms": 100,
        }
        return AIOKafkaConsumer(**self._common, **(settings | options))

    def admin(self) -> AIOKafkaAdminClient:
        return AIOKafkaAdminClient(**self._common)

    def producer(self, **options: Any) -> AIOKafkaProducer:
        return AIOKafkaProducer(**self._common, acks="all", enable_idempotence=True, **options)

    def teller(self) -> AIOKafkaProducer:
        """For what is said anew every second: one that is lost is made up for by the next."""
        return AIOKafkaProducer(**self._common, acks=1, request_timeout_ms=3_000)

    def transactional(self, transactional_id: str) -> AIOKafkaProducer:
        """Its ``start`` fences every other producer of this id, and aborts what it left open."""
        return AIOKafkaProducer(
            **self._common,
            acks="all",
            transactional_id=transactional_id,
            transaction_timeout_ms=_TRANSACTION_MS,
            max_request_size=_RECORD_BYTES,
        )


async def stop_consumer(consumer: AIOKafkaConsumer, limit: float = 5.0) -> None:
    """Leaves its group; where Kafka is away that is given up after ``limit`` seconds."""
    stopping = asyncio.create_task(consumer.stop())
    done, _ = await asyncio.wait({stopping}, timeout=limit)
    if not done:
        stopping.cancel()
    elif not stopping.cancelled() and (error := stopping.exception()):
        log.debug("a consumer did not stop cleanly", error=repr(error))


def discard_producer(producer: AIOKafkaProducer) -> None:
    """Stops it in the background; nothing that waits is appended by it any more after its limit."""
    task = asyncio.create_task(stop_producer(producer))
    _discarding.add(task)
    task.add_done_callback(_discarding.discard)


async def discarded() -> None:
    """Waits until all discarded producers have stopped."""
    if _discarding:
        await asyncio.wait(_discarding)


async def stop_producer(producer: AIOKafkaProducer, limit: float = 2.0) -> None:
    """``stop()`` waits for its unsent batches; without a broker that is for ever, so its connections are closed."""
    stopping = asyncio.create_task(producer.stop())
    done, _ = await asyncio.wait({stopping}, timeout=limit)
    if not done:
        stopping.cancel()
        await producer.client.close()
        await asyncio.wait({stopping}, timeout=limit)
        sender = producer._sender.sender_task  # noqa: SLF001 - there is no public way to stop it without a broker
        if sender is not None and not sender.done():
            sender.cancel()
            await asyncio.wait({sender}, timeout=limit)
    with suppress(KafkaError, asyncio.CancelledError):
        if stopping.done() and not stopping.cancelled() and (error := stopping.exception()):
            log.debug("a producer did not stop cleanly", error=repr(error))
