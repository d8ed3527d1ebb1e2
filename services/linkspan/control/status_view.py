"""What all replicas say of themselves: the newest record of each, gone when it is silent."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.kernel.codec import Datum, RecordCodec
from linkspan.kernel.errors import Poison
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.message import now_micros
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.topics import WINDOW_STATUS, status_topic
from linkspan.readmodel.windows import STALE, FlowWindows, flow_windows

log = structlog.get_logger()

#: A replica that was not heard of for so long says nothing any more, seconds.
FRESH = 5.0
#: Every replica speaks once a second, and may be late: after so long all that live were heard.
_ALL_HEARD = 2.5
#: Kafka has so long to begin, then what is known is the answer.
_BEGINS = 2.5
_LIMIT = 15.0


class StatusView:
    """``run`` until cancelled."""

    def __init__(self, clients: KafkaClients, integration: str, catalog: SchemaCatalog) -> None:
        self._clients, self._codec = clients, RecordCodec(catalog, "Status")
        self._window_codec = RecordCodec(catalog, "WindowStatus")
        self._topic = TopicPartition(status_topic(integration), 0)
        self._heard: dict[bytes, tuple[float, Datum]] = {}
        self._windows: dict[bytes, Datum] = {}
        self._following, self._since = asyncio.Event(), 0.0

    async def replicas(self) -> list[Datum]:
        """Waits at the process's start until those that live must have spoken."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_BEGINS):
                await self._following.wait()
        if self._following.is_set():
            await asyncio.sleep(max(0.0, self._since + _ALL_HEARD - asyncio.get_running_loop().time()))
        return self.newest()

    def newest(self) -> list[Datum]:
        now = asyncio.get_running_loop().time()
        self._heard = {key: said for key, said in self._heard.items() if now - said[0] < FRESH}
        return [said for _, said in self._heard.values()]

    async def delivered(self, flow: str) -> float:
        """Messages a second, of all replicas together."""
        replicas = await self.replicas()
        return float(sum(one["delivered"] for replica in replicas for one in replica["flows"] if one["flow"] == flow))

    def windows(self) -> dict[str, FlowWindows]:
        """By flow, as far as insight runs."""
        now = now_micros()
        self._windows = {key: said for key, said in self._windows.items() if now - said["at"] <= STALE}
        return flow_windows(self._windows.values(), now)

    async def run(self) -> None:
        while True:
            reader = self._clients.reader()
            try:
                async with asyncio.timeout(_LIMIT):
                    await reader.start()
                await self._follow(reader)
            except (KafkaError, OSError, TimeoutError) as error:
                log.debug("the status topic cannot be read", error=repr(error))
            except Exception:  # who says nothing of the others is not seen to do so
                log.exception("the status topic cannot be followed")
            finally:
                self._following.clear()
                await stop_consumer(reader)
            await asyncio.sleep(1)

    async def _follow(self, reader: AIOKafkaConsumer) -> None:
        reader.assign([self._topic])
        async with asyncio.timeout(_LIMIT):
            end = (await reader.end_offsets([self._topic]))[self._topic]
        reader.seek(self._topic, end)
        self._since = asyncio.get_running_loop().time()
        self._following.set()
        while True:
            found = await reader.getmany(self._topic, timeout_ms=1_000)
            for record in found.get(self._topic, ()):
                self._read(record)

    def _read(self, record: Any) -> None:
        if record.key is None:
            return
        if record.value is None:
            self._heard.pop(record.key, None)
            self._windows.pop(record.key, None)
            return
        try:
            if record.key.startswith(WINDOW_STATUS):
                self._windows[record.key] = self._window_codec.decode(record.value)
                return
            self._heard[record.key] = asyncio.get_running_loop().time(), self._codec.decode(record.value)
        except Poison:
            log.debug("no status of a replica", key=record.key.decode("utf-8", "replace"))
