"""Records between the agents, which wait while it is full, and the pipeline, which takes all there are."""

from __future__ import annotations

import asyncio
from typing import Any


class Inbox:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._records: list[Any] = []
        self._came, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        return len(self._records)

    async def put(self, record: Any) -> None:
        await self._room.wait()
        self._records.append(record)
        self._came.set()
        if len(self._records) >= self._limit:
            self._room.clear()

    async def take(self, seconds: float, gather: float) -> list[Any]:
        """Waits so long for the first one, and a little for others, unless it is full."""
        try:
            async with asyncio.timeout(seconds):
                await self._came.wait()
        except TimeoutError:
            return []
        if self._room.is_set():
            await asyncio.sleep(gather)
        found, self._records = self._records, []
        self._came.clear()
        self._room.set()
        return found

    def clear(self) -> None:
        self._records = []
        self._came.clear()
        self._room.set()
