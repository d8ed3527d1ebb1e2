"""Tells when each API key was used last, in ``<integration>.key-uses``."""

from __future__ import annotations

import asyncio
import time

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.kafka.clients import KafkaClients, started_producer, stop_producer
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.topics import key_uses_topic

log = structlog.get_logger()

#: Of a key it is told so often at most; it is looked for what to tell so often. Seconds.
_EVERY, _LOOK = 60.0, 2.0
_LIMIT = 5.0


class KeyUses:
    """``used`` may be called for each message; ``run`` until cancelled, ``close`` then."""

    def __init__(self, clients: KafkaClients, integration: str, catalog: SchemaCatalog) -> None:
        self._clients, self._topic = clients, key_uses_topic(integration)
        self._codec = RecordCodec(catalog, "KeyUse")
        self._used: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._producer: AIOKafkaProducer | None = None

    def used(self, key_id: str, at: float) -> None:
        """``key_id``: of a key that is known, so that there are not more than keys; ``at``: seconds since 1970."""
        self._used[key_id] = at

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            try:
                await self._tell()
            except (KafkaError, OSError, TimeoutError) as error:
                log.debug("uses of keys not told", error=repr(error))
            except Exception:
                log.exception("uses of keys not told")

    async def _tell(self) -> None:
        now = time.time()
        due = {name: at for name, at in self._used.items() if now - self._told.get(name, 0.0) >= _EVERY}
        for name, at in due.items():
            value = self._codec.encode({"used": int(at * 1e6)})
            producer = await self._running()
            async with asyncio.timeout(_LIMIT):
                await producer.send_and_wait(self._topic, value, name.encode(), partition=0)
            self._told[name] = now
            if self._used[name] == at:
                del self._used[name]

    async def _running(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = await started_producer(self._clients.teller())
        return self._producer

    async def close(self) -> None:
        if self._producer is not None:
            await stop_producer(self._producer)
