"""Fetches the events of one owned partition, as far as its window has room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from linkspan.egress.own.fit import out_of_range
from linkspan.egress.partition.state import PartitionState

_FETCH_MS = 1_000


class Fetcher:
    """``took`` is told of what was fetched, ``gone`` of (wanted, first) where retention was faster. ``to``: all below
    was fetched; ``room`` is set when the window may have some."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        events: TopicPartition,
        batch: int,
        took: Callable[[Sequence[Any]], None],
        gone: Callable[[int, int], None],
    ) -> None:
        self._consumer, self._events, self._batch = consumer, events, batch
        self._took, self._gone = took, gone
        self.room = asyncio.Event()
        self.to = 0

    async def run(self, state: PartitionState) -> None:
        """Raises Misfit, KafkaError."""
        while True:
            if not state.wants_more():
                await self._wait_for_room(state)
            await self._once(min(self._batch, state.room()))

    async def _wait_for_room(self, state: PartitionState) -> None:
        """Paused meanwhile: fetched records that nobody takes would slow down the other partitions' fetches."""
        self._consumer.pause(self._events)
        while not state.wants_more():
            self.room.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_FETCH_MS / 1000):
                    await self.room.wait()
        self._consumer.resume(self._events)

    async def _once(self, most: int) -> None:
        try:
            found = await self._consumer.getmany(self._events, timeout_ms=_FETCH_MS, max_records=most)
        except NoOffsetForPartitionError:
            return  # looked up before the assignment's seek; the position is ours
        except OffsetOutOfRangeError:
            wanted, first = await out_of_range(self._consumer, self._events)
            self._gone(wanted, first)
            self._consumer.seek(self._events, first)
            return
        records = found.get(self._events)
        if records:
            self.to = records[-1].offset + 1
            self._took(records)
        else:
            self.to = max(self.to, int(await self._consumer.position(self._events)))  # markers are no records

    @property
    def behind(self) -> int:
        """Events that are not fetched yet, as far as the last fetch told."""
        end = self._consumer.highwater(self._events) if self._events in self._consumer.assignment() else None
        return 0 if end is None else max(0, end - self.to)

    async def lag(self) -> int:
        """The same, asked for. Raises KafkaError."""
        end = (await self._consumer.end_offsets([self._events]))[self._events]
        return max(0, int(end) - int(await self._consumer.position(self._events)))
