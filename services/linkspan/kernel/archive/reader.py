"""Reads a partition as if its log had kept everything: from the archive what Kafka has no more, then from Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndTimestamp
from msgspec.structs import replace

from linkspan.kernel.archive.errors import ArchiveAway, ArchiveDamaged
from linkspan.kernel.archive.segment import Archived, Segment, covered_from, decode, with_offset
from linkspan.kernel.archive.store import ArchiveAt, ArchiveStore, Place

#: Records that are given at once, where nobody says how many.
_MOST = 5_000
#: Of a flow's topics those whose old records are read again.
_KINDS = (".events", ".outcomes")


class Cluster(Protocol):
    archive: ArchiveAt | None

    async def cluster(self) -> str:
        """The id of the Kafka cluster."""
        ...


class ArchivedReader:
    """The part of a consumer's interface that replays use; one partition is assigned at a time.

    In memory is one segment, and one of its blocks decoded. Raises ArchiveAway, ArchiveDamaged, and what a consumer
    does.
    """

    def __init__(self, consumer: AIOKafkaConsumer, kafka: Cluster, at: ArchiveAt) -> None:
        self._consumer, self._kafka, self._where = consumer, kafka, at
        self._store = ArchiveStore(at.url, at.integration)
        self._there = False
        self._past: dict[TopicPartition, _Past] = {}
        self._tp: TopicPartition | None = None
        self._at = 0
        self._live = True

    async def start(self) -> None:
        await self._consumer.start()
        head = await self._store.head()
        if head is None and self._where.asked:
            raise ArchiveAway(
                f"there is no archive of {self._store.integration} at {self._store.url}: mount it, or begin it with "
                "linkspan archive run, or unset LINKSPAN_ARCHIVE"
            )
        if head is not None and head.cluster != await self._kafka.cluster():
            raise ArchiveDamaged(
                f"the archive {self._store.url} is of the Kafka cluster {head.cluster}, which this is not: "
                "docs/archive.md says how it goes on after a restore"
            )
        self._there = head is not None
        if self._there:  # what was there once must be there
            self._kafka.archive = replace(self._where, asked=True)

    async def stop(self) -> None:
        self._past.clear()
        await self._consumer.stop()

    def is_archived(self, tp: TopicPartition) -> bool:
        return self._there and tp.topic.endswith(_KINDS)

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        (self._tp,) = partitions
        self._live = not self.is_archived(self._tp)
        self._at = 0
        if self._live:
            self._consumer.assign([self._tp])

    def seek(self, tp: TopicPartition, offset: int) -> None:
        if self.is_archived(tp):
            self._live, self._at = False, offset
        else:
            self._consumer.seek(tp, offset)

    async def position(self, tp: TopicPartition) -> int:
        return int(await self._consumer.position(tp)) if self._live else self._at

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        found: dict[TopicPartition, int] = dict(await self._consumer.beginning_offsets(list(partitions)))
        for tp, begin in found.items():
            if self.is_archived(tp):
                found[tp] = await (await self._past_of(tp, begin)).first()
        return found

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        ends: Mapping[TopicPartition, int] = await self._consumer.end_offsets(list(partitions))
        return ends

    async def offsets_for_times(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
        """As Kafka answers: the first record that is not older."""
        found: dict[TopicPartition, Any] = dict(await self._consumer.offsets_for_times(dict(times)))
        begins = await self._consumer.beginning_offsets(list(times))
        for tp, millis in times.items():
            if self.is_archived(tp):
                earlier = await (await self._past_of(tp, begins[tp])).at(millis)
                found[tp] = earlier if earlier is not None else found.get(tp)
        return found

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Any]]:
        tp = self._tp
        if tp is None or not self.is_archived(tp):
            return dict(await self._consumer.getmany(*partitions, timeout_ms=timeout_ms, max_records=max_records))
        past = await self._past_of(tp)
        if not self._live:
            records = await past.read(self._at, max_records or _MOST)
            if records is not None:
                self._at = past.at_offset
                return {tp: records}
            self._consumer.assign([tp])
            self._at = past.at_offset
            self._consumer.seek(tp, self._at)
            self._live = True
        return await self._fetched(tp, past, timeout_ms, max_records)

    async def _fetched(
        self, tp: TopicPartition, past: _Past, timeout_ms: int, max_records: int | None
    ) -> dict[TopicPartition, list[Any]]:
        """Kafka's; where retention took the place meanwhile, the archive is read on."""
        before = await self._consumer.position(tp)
        found: dict[TopicPartition, list[Any]] = dict(
            await self._consumer.getmany(tp, timeout_ms=timeout_ms, max_records=max_records)
        )
        records = found.get(tp)
        after = records[0].offset if records else await self._consumer.position(tp)
        if after > before:
            past.begin = (await self._consumer.beginning_offsets([tp]))[tp]
            if past.begin > before and await past.first() <= before:
                self._live, self._at = False, before
                return {}
        return found

    async def _past_of(self, tp: TopicPartition, begin: int | None = None) -> _Past:
        past = self._past.get(tp)
        if past is None:
            past = self._past[tp] = _Past(self._store, Place(tp.topic, tp.partition))
            if begin is None:
                begin = (await self._consumer.beginning_offsets([tp]))[tp]
        if begin is not None:
            past.begin = begin
        return past


class _Past:
    """What the archive has of one partition below ``begin``, where Kafka's log begins. ``at_offset``: after what was
    read last."""

    def __init__(self, store: ArchiveStore, place: Place) -> None:
        self._store, self._place = store, place
        self.begin = self.at_offset = 0
        self._segments: list[Segment] | None = None
        self._open: _Open | None = None

    async def first(self) -> int:
        """From where on nothing is missing."""
        if self.begin == 0:
            return 0
        if self._segments is None or max((one.end for one in self._segments), default=0) < self.begin:
            self._segments = await self._store.segments(self._place)
        return covered_from(self._segments, self.begin)

    async def at(self, millis: int) -> OffsetAndTimestamp | None:
        """The first record that is not older than this and that Kafka has no more."""
        first = await self.first()
        for one in self._segments or ():
            if one.newest >= millis and one.end > first and one.first < self.begin:
                opened = await self._opened(one)
                for record in opened.after(first):
                    if record.offset >= self.begin:
                        return None
                    if record.timestamp >= millis:
                        return OffsetAndTimestamp(record.offset, record.timestamp)
        return None

    async def read(self, offset: int, most: int) -> list[Archived] | None:
        """Some records from ``offset`` on, at least one; None where Kafka has what comes next."""
        offset = max(offset, await self.first())
        while offset < self.begin:
            segment = with_offset(self._segments or (), offset)
            if segment is None:
                raise ArchiveDamaged(f"no archived segment of {self._place.path} has the offset {offset}")
            opened = await self._opened(segment)
            records = await asyncio.to_thread(opened.take, offset, most)
            if records:
                self.at_offset = records[-1].offset + 1 if len(records) == most else segment.end
                return records
            offset = segment.end
        self.at_offset = offset
        self._open = None
        return None

    async def _opened(self, segment: Segment) -> _Open:
        if self._open is None or self._open.segment != segment:
            self._open = None
            content = await self._store.get(self._place, segment)
            self._open = _Open(self._place, segment, content)
        return self._open


class _Open:
    """A segment that is read from, forward as a rule."""

    def __init__(self, place: Place, segment: Segment, content: bytes) -> None:
        self.segment = segment
        self._place, self._content = place, content
        self._rest, self._at = self._begun(), segment.first

    def _begun(self) -> Iterator[Archived]:
        return decode(self._place.topic, self._place.partition, self._content)

    def after(self, offset: int) -> Iterator[Archived]:
        return (one for one in self._begun() if one.offset >= offset)

    def take(self, offset: int, most: int) -> list[Archived]:
        """As many as there are from ``offset`` on, up to ``most``."""
        if offset < self._at:
            self._rest = self._begun()
        found = list(islice((one for one in self._rest if one.offset >= offset), most))
        self._at = found[-1].offset + 1 if found else self.segment.end
        return found
