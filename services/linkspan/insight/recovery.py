"""Fills the tables of partitions that came from their changelogs, in batches; Faust finds nothing left to recover.

Faust's own way costs a task and a timer for each row, and never ends where the last rows of a changelog are gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery

from linkspan.insight.shelf import Shelf
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer

log = structlog.get_logger()

_AGAIN = 1.0
_START = 15.0
#: Rows written at once, in some 10 ms.
_ROWS = 5_000
#: Of each partition; there are as many as all tables have together.
_FETCH = 256 * 1024


class Changelogs:
    """``shelves``: by their changelogs' topics."""

    def __init__(self, clients: KafkaClients, shelves: Iterable[Shelf]) -> None:
        self._clients, self._shelves = clients, {shelf.changelog: shelf for shelf in shelves}

    async def fill(self, ends: Mapping[TopicPartition, int]) -> None:
        """Until each table's partition has its changelog below the end. Waits while Kafka is away.

        Rows and the offset up to which they go are written in one: it may end anywhere, and goes on from there.
        """
        began, rows = time.monotonic(), 0
        while left := {place: end for place, end in ends.items() if self._next(place) < end}:
            reader = self._clients.reader(isolation_level="read_uncommitted", max_partition_fetch_bytes=_FETCH)
            try:
                rows += await self._read(reader, left)
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("changelogs cannot be read", error=repr(error))
                await asyncio.sleep(_AGAIN)
            finally:
                await stop_consumer(reader)
        if rows:
            log.info("tables filled", partitions=len(ends), rows=rows, seconds=round(time.monotonic() - began, 1))

    async def _read(self, reader: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> int:
        async with asyncio.timeout(_START):
            await reader.start()
            reader.assign(list(ends))
            firsts = await reader.beginning_offsets(list(ends))
        for place, first in firsts.items():
            reader.seek(place, max(first, self._next(place)))
        left, rows = set(ends), 0
        while left:
            found = await reader.getmany(*left, timeout_ms=1_000, max_records=_ROWS)
            rows += sum(map(len, found.values()))
            for place in tuple(left):
                reached = min(await reader.position(place), ends[place])
                self._keep(place, found.get(place, ()), reached)
                if reached == ends[place]:
                    left.discard(place)
        return rows

    def _keep(self, place: TopicPartition, records: Iterable[Any], reached: int) -> None:
        if reached > self._next(place):  # a changelog ends with a gap where its last rows were compacted away
            rows = {record.key: record.value for record in records if record.offset < reached}
            self._shelves[place.topic].keep(place.partition, rows, reached - 1)

    def _next(self, place: TopicPartition) -> int:
        kept = self._shelves[place.topic].kept(place.partition)
        return 0 if kept is None else kept + 1


class FilledRecovery(Recovery):  # type: ignore[misc]
    """Faust's recovery, behind ``changelogs``; set before it starts."""

    changelogs: Changelogs

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ARG002, ASYNC109 - as Faust calls it
        """Ends with what is waited for, the next rebalance or a stop: after a timeout Faust would never recover again,
        without a word."""
        await super()._wait(coro)

    async def _build_offsets(self, consumer: Any, tps: Any, destination: Any, title: str) -> None:
        if title == "active":
            last = {tp: self.active_highwaters[tp] for tp in tps}
            await self.changelogs.fill({TopicPartition(*tp): offset + 1 for tp, offset in last.items()})
            for tp, offset in last.items():
                destination[tp] = max(offset, -1 if destination[tp] is None else destination[tp])
        await super()._build_offsets(consumer, tps, destination, title)


class FilledTables(TableManager):  # type: ignore[misc]
    """Faust's tables with that recovery; ``changelogs`` are known once there are tables."""

    changelogs: Changelogs
    _recovery: FilledRecovery | None = None

    @property
    def recovery(self) -> FilledRecovery:
        if self._recovery is None:
            self._recovery = FilledRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
            self._recovery.changelogs = self.changelogs
        return self._recovery
