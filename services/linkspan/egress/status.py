"""Says every second how this replica stands, in ``<integration>.status``."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from linkspan.egress.flow import FlowService
from linkspan.kernel.codec import Datum, RecordCodec
from linkspan.kernel.kafka.clients import KafkaClients, stop_producer
from linkspan.kernel.message import now_micros

log = structlog.get_logger()

EVERY = 1.0
_LIMIT = 3.0


class StatusReporter:
    """``run`` until cancelled, ``close`` then; a replica that ends in order takes its record back."""

    def __init__(self, clients: KafkaClients, topic: str, codec: RecordCodec, services: Sequence[FlowService]) -> None:
        self.replica = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._clients, self._topic, self._codec = clients, topic, codec
        self._services = [_Counted(service) for service in services]
        self._producer: AIOKafkaProducer | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at = loop.time()
            try:
                await self._write(self._codec.encode(self.status()))
            except (KafkaError, OSError, TimeoutError) as error:
                log.debug("status not told", error=repr(error))
            except Exception:
                log.exception("status not told")
            await asyncio.sleep(max(0.1, at + EVERY - loop.time()))

    def status(self) -> Datum:
        owners = [owner for one in self._services for owner in one.service.member.owners() if owner.active]
        return {
            "replica": self.replica,
            "at": now_micros(),
            "control": min((owner.state.control for owner in owners), default=-1),
            "flows": [one.status() for one in self._services],
        }

    async def _write(self, value: bytes | None) -> None:
        if self._producer is None:
            producer = self._clients.teller()
            try:
                await producer.start()
            except BaseException:
                await stop_producer(producer)
                raise
            self._producer = producer
        async with asyncio.timeout(_LIMIT):
            await self._producer.send_and_wait(self._topic, value, self.replica.encode(), partition=0)

    async def close(self) -> None:
        if self._producer is not None:
            with suppress(KafkaError, OSError, TimeoutError):
                await self._write(None)
            await stop_producer(self._producer)


class _Counted:
    """A flow, and what it had done at the last record."""

    def __init__(self, service: FlowService) -> None:
        self.service = service
        self._at = asyncio.get_running_loop().time()
        self._delivered = self._failed = 0

    def status(self) -> dict[str, Any]:
        service, pipeline = self.service, self.service.pipeline
        now = asyncio.get_running_loop().time()
        seconds = max(now - self._at, 0.001)
        delivered, failed = pipeline.delivered - self._delivered, pipeline.failed - self._failed
        self._at, self._delivered, self._failed = now, pipeline.delivered, pipeline.failed
        owners = [owner for owner in service.member.owners() if owner.active]
        return {
            "flow": service.name,
            "destination": service.destination,
            "partitions": sorted(owner.partition for owner in owners),
            "delivered": delivered / seconds,
            "failed": failed / seconds,
            "lag": sum(owner.behind for owner in owners),
            "window": sum(owner.state.unfinished for owner in owners),
            "attempts": sum(owner.attempts for owner in owners),
            "heldKeys": sum(owner.state.held_keys for owner in owners),
            "breaker": pipeline.breaker.mode.name.lower(),
            "reason": pipeline.breaker.reason,
        }
