"""What follows from a batch: first what is told, then the rows of the tables."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from linkspan.insight.shelf import Shelf

Send = Callable[[str, int, bytes, bytes | None], Awaitable[Awaitable[Any]]]


class Writes:
    def __init__(self) -> None:
        self._sends: list[tuple[str, int, bytes, bytes | None]] = []
        self._rows: dict[tuple[Shelf, int], dict[bytes, bytes | None]] = defaultdict(dict)

    def send(self, topic: str, partition: int, key: bytes, value: bytes) -> None:
        self._sends.append((topic, partition, key, value))

    def row(self, shelf: Shelf, partition: int, key: bytes, value: bytes | None) -> None:
        """The last one of a key counts."""
        self._rows[shelf, partition][key] = value

    @property
    def empty(self) -> bool:
        return not self._sends and not self._rows

    async def settle(self, send: Send) -> Callable[[], None]:
        """Raises KafkaError; all of it may be tried again. What it gives keeps the rows on this machine.

        A row never stands in a changelog before what it says was told: so what is told only when a row changes is
        not lost by a crash in between.
        """
        await _all(send, self._sends)
        places = [(shelf, partition) for (shelf, partition), rows in self._rows.items() for _ in rows]
        written = await _all(
            send,
            [
                (shelf.changelog, partition, key, value)
                for (shelf, partition), rows in self._rows.items()
                for key, value in rows.items()
            ],
        )
        ends: dict[tuple[Shelf, int], int] = {}
        for place, one in zip(places, written, strict=True):
            ends[place] = max(one.offset, ends.get(place, -1))

        def keep() -> None:
            for (shelf, partition), rows in self._rows.items():
                shelf.keep(partition, rows, ends[shelf, partition])

        return keep


async def _all(send: Send, records: Iterable[tuple[str, int, bytes, bytes | None]]) -> list[Any]:
    sent = [await send(*record) for record in records]
    return list(await asyncio.gather(*sent))
