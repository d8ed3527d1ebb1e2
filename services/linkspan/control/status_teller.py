"""Says every second how this replica stands, in ``<integration>.status``."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from linkspan import __version__
from linkspan.control.host import Host
from linkspan.control.tail import ControlTail
from linkspan.kernel.codec import Datum, RecordCodec
from linkspan.kernel.kafka.clients import started_producer, stop_producer
from linkspan.kernel.message import now_micros
from linkspan.kernel.tls.served import served
from linkspan.kernel.topics import status_topic

log = structlog.get_logger()

EVERY = 1.0
_LIMIT = 3.0


class StatusTeller:
    """``run`` until cancelled, ``close`` then; a replica that ends in order takes its record back. ``address`` is the
    control API's, ``say`` gives what the service knows beside what every one does."""

    def __init__(self, host: Host, tail: ControlTail, say: Callable[[], Datum]) -> None:
        self.replica = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.address = ""
        self._host, self._tail, self._say = host, tail, say
        self._codec = RecordCodec(host.catalog, "Status")
        self._topic = status_topic(host.integration.integration)
        self._started = now_micros()
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
        general = {
            "replica": self.replica,
            "at": now_micros(),
            "control": self._tail.applied,
            "service": self._host.service,
            "version": __version__,
            "started": self._started,
            "controlAddress": self.address,
            "spooled": 0,
            "certificates": [{"use": use, "expires": int(end * 1e6)} for use, end in served()],
        }
        return general | self._say()

    async def _write(self, value: bytes | None) -> None:
        if self._producer is None:
            await self._tail.schemas.ready()
            self._producer = await started_producer(self._host.clients.teller())
        async with asyncio.timeout(_LIMIT):
            await self._producer.send_and_wait(self._topic, value, self.replica.encode(), partition=0)

    async def close(self) -> None:
        if self._producer is not None:
            with suppress(KafkaError, OSError, TimeoutError):
                await self._write(None)
            await stop_producer(self._producer)
