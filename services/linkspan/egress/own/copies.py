"""Finding copies in ``parked``: by event offset, or all of a key in the order of their events."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.egress.partition.releases import Wanted
from linkspan.kernel.kafka.clients import KafkaClients, started_reader, stop_consumer
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.parked import Copy

#: Copies that stand no further apart are read in one go.
_NEAR = 500
#: One reading ends after so many bytes.
_BYTES = 8 * 1024 * 1024
_FETCH_MS = 1_000
#: Copies that are looked for together, before their bytes are counted.
_TOGETHER = 32


class Copies:
    """Of one partition. Where the copies of draining keys stand is kept for one release: a letter that is refused again
    is copied again, and the next release begins with it."""

    def __init__(self, clients: KafkaClients, parked: TopicPartition) -> None:
        self._clients, self._parked = clients, parked
        self._reader: AIOKafkaConsumer | None = None
        self._places: dict[bytes, deque[tuple[int, int]]] = {}
        self._begun: dict[bytes, int] = {}
        self._read_to = 0
        self._all: dict[int, int] = {}
        self._all_to = 0

    async def find(self, offsets: Iterable[int], start: int = 0) -> dict[int, Copy]:
        """The copies of these events, as far as there are any. Raises KafkaError."""
        wanted, found = set(offsets), dict[int, Copy]()

        def take(record: Any) -> None:
            copy = Copy(record)
            if copy.offset in wanted:
                found[copy.offset] = copy

        await read_all(await self._running(), self._parked, start, None, take)
        return {offset: copy for offset, copy in found.items() if not copy.gone}

    async def named(self, offsets: Sequence[int]) -> tuple[dict[int, Copy], int]:
        """As ``find``, for somebody who asks again and again: where copies stand is read once. And how many of the
        first ones were looked for: so many that their bytes are enough for one go. Raises KafkaError."""

        def take(record: Any) -> None:
            copy = Copy(record)
            if copy.gone:
                self._all.pop(copy.offset, None)
            else:
                self._all[copy.offset] = copy.at

        self._all_to = await read_all(await self._running(), self._parked, self._all_to, None, take)
        found, size = dict[int, Copy](), 0
        for start in range(0, len(offsets), _TOGETHER):
            some = offsets[start : start + _TOGETHER]
            copies = await self._read_all(sorted(self._all[offset] for offset in some if offset in self._all))
            found |= {copy.offset: copy for copy in copies}
            size += sum(copy.size for copy in copies)
            if size >= _BYTES:
                return found, start + len(some)
        return found, len(offsets)

    async def _read_all(self, places: list[int]) -> list[Copy]:
        found = list[Copy]()
        while places and (read := await self._read(places)):
            found += read.values()
            places = [place for place in places if place not in read]
        return found

    async def next(self, wanted: list[Wanted]) -> dict[bytes, list[Copy]]:
        """The next copies of each key, in the order of their events, none left out. Raises KafkaError."""
        await self._locate(wanted)
        chosen: dict[bytes, list[tuple[int, int]]] = {}
        for one in wanted:
            places = self._places[one.key]
            while places and places[0][0] <= one.after:
                places.popleft()
            there = takewhile(lambda place, last=one.last: place[0] <= last, places)  # type: ignore[misc]
            chosen[one.key] = [place for place, _ in zip(there, range(one.count), strict=False)]
        read = await self._read(sorted(at for places in chosen.values() for _, at in places))
        return {
            key: [read[at] for _, at in takewhile(lambda place: place[1] in read, places)]
            for key, places in chosen.items()
        }

    async def _locate(self, wanted: list[Wanted]) -> None:
        """Reads where copies stand, from the lowest place at which one can be that is not known yet."""
        begun = {one.key: one.begun for one in wanted}
        for key in [key for key in self._places if begun.get(key) != self._begun.get(key)]:
            del self._places[key]
        self._begun = begun
        new = {one.key: one for one in wanted if one.key not in self._places}
        behind = [one for one in wanted if one.key not in new and not self._knows(one)]
        if not new and not behind:
            return
        start = min([one.start for one in new.values()] + [self._read_to] * bool(behind))
        found: dict[bytes, dict[int, int]] = {one.key: dict(self._places.get(one.key, ())) for one in wanted}

        def take(record: Any) -> None:
            copy = Copy(record)
            if copy.gone:
                return
            places = found.get(copy.key) if copy.key is not None else None
            if places is not None:
                places[copy.offset] = copy.at

        end = await read_all(await self._running(), self._parked, start, None, take)
        self._read_to = end
        self._places = {key: deque(sorted(places.items())) for key, places in found.items()}

    def _knows(self, one: Wanted) -> bool:
        places = self._places[one.key]
        return bool(places) and places[-1][0] >= one.last

    async def _read(self, places: list[int]) -> dict[int, Copy]:
        reader, wanted, found, size = await self._running(), set(places), dict[int, Copy](), 0
        reader.assign([self._parked])
        at = -_NEAR - 1
        for place in places:
            if place < at:
                continue
            if place - at > _NEAR or at < 0:
                reader.seek(self._parked, place)
            while (at := await reader.position(self._parked)) <= place and size < _BYTES:
                records = await reader.getmany(self._parked, timeout_ms=_FETCH_MS, max_records=_NEAR)
                for record in records.get(self._parked, ()):
                    if record.offset in wanted and record.value is not None:
                        found[record.offset] = Copy(record)
                        size += len(record.value)
        return found

    async def _running(self) -> AIOKafkaConsumer:
        if self._reader is None:
            self._reader = await started_reader(self._clients.reader())
        return self._reader

    async def close(self) -> None:
        """Forgets what it knows, and its connection."""
        reader, self._reader = self._reader, None
        self._places.clear()
        self._all, self._all_to = {}, 0
        if reader is not None:
            await stop_consumer(reader)
