"""Copies dead letters and held messages into ``parked``, many in one transaction, before their outcomes are written."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from aiokafka import TopicPartition

from linkspan.egress.own.store import StateStore
from linkspan.egress.partition.effect import Record
from linkspan.egress.record.parked import parked_copy

#: Copies of one transaction at most; a record has up to a megabyte.
_MOST, _MOST_BYTES = 200, 8 * 1024 * 1024

Parked = Callable[[Record, int | None, int], None]


class Parker:
    """``parked(effect, sent_at, offset)`` is called in the order of ``add``, when the copy stands at ``offset``."""

    def __init__(self, store: StateStore, where: TopicPartition, epoch: int, parked: Parked) -> None:
        self._store, self._where, self._epoch, self._parked = store, where, epoch, parked
        self._waiting: deque[tuple[Record, int | None]] = deque()
        self._some = asyncio.Event()

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def add(self, effect: Record, sent_at: int | None) -> None:
        self._waiting.append((effect, sent_at))
        self._some.set()

    async def run(self) -> None:
        """Raises StateLost."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                await self._park()

    async def _park(self) -> None:
        records, size = [], 0
        for effect, _ in self._waiting:
            key, value, headers = parked_copy(effect, effect.message.record, self._epoch)
            records.append((self._where, key, value, headers))
            size += len(value)
            if len(records) >= _MOST or size >= _MOST_BYTES:
                break
        for offset in await self._store.write(records):
            effect, sent_at = self._waiting.popleft()
            self._parked(effect, sent_at, offset)
