"""What an archive has, and whether it is whole and says what Kafka says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from hashlib import blake2b
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.archive.kept import Kept, kept_of
from linkspan.kernel.archive.errors import ArchiveDamaged
from linkspan.kernel.archive.segment import Segment, decode, holes
from linkspan.kernel.archive.store import ArchiveStore
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.spec import Integration

_READ_MS, _EMPTY = 1_000, 30
_NAMED = 5


class Found(msgspec.Struct):
    """Of one partition. ``begin``, ``end``: of Kafka's log, -1 where it was not asked; ``compared``: records that were
    read in both; ``wrong``: what is not as it should be, a line each; ``unread``: segments that are altered."""

    kept: Kept
    segments: list[Segment]
    holes: list[tuple[int, int]]
    begin: int = -1
    end: int = -1
    records: int = 0
    compared: int = 0
    wrong: list[str] = []

    @property
    def whole(self) -> bool:
        return not (self.wrong or self.holes)


async def listed(integration: Integration, store: ArchiveStore) -> list[Found]:
    """By the names alone. Raises ArchiveAway, ArchiveDamaged."""
    return [await _listed(kept, store) for kept in kept_of(integration)]


async def _listed(kept: Kept, store: ArchiveStore) -> Found:
    segments = await store.segments(kept.place)
    found = Found(kept, segments, holes(segments))
    found.records = sum(one.records for one in segments)
    return found


async def verified(integration: Integration, store: ArchiveStore, clients: KafkaClients | None) -> AsyncIterator[Found]:
    """Every segment is read; with ``clients`` compared with what Kafka still has. Raises ArchiveAway, KafkaError."""
    reader = clients.reader() if clients is not None else None
    try:
        if reader is not None:
            await reader.start()
        for kept in kept_of(integration):
            yield await _Partition(store, await _listed(kept, store), reader).found()
    finally:
        if reader is not None:
            await stop_consumer(reader)


class _Partition:
    def __init__(self, store: ArchiveStore, found: Found, reader: AIOKafkaConsumer | None) -> None:
        self._store, self._found, self._reader = store, found, reader
        self._place = found.kept.place
        self._tp = TopicPartition(self._place.topic, self._place.partition)

    async def found(self) -> Found:
        found, reader = self._found, self._reader
        if reader is not None:
            found.begin = (await reader.beginning_offsets([self._tp]))[self._tp]
            found.end = (await reader.end_offsets([self._tp]))[self._tp]
            archived = max((one.end for one in found.segments), default=0)
            if archived > found.end:
                found.wrong.append(f"archived up to {archived}, and Kafka's log ends at {found.end}")
        for segment in found.segments:
            try:
                content = await self._store.get(self._place, segment)
                digests = await asyncio.to_thread(self._digests, segment, content)
            except ArchiveDamaged as error:
                found.wrong.append(str(error))
                continue
            if reader is not None:
                await self._compare(reader, segment, digests)
        return found

    def _digests(self, segment: Segment, content: bytes) -> dict[int, bytes]:
        """Of each record; raises ArchiveDamaged."""
        digests: dict[int, bytes] = {}
        before = segment.first - 1
        for one in decode(self._place.topic, self._place.partition, content):
            if not before < one.offset < segment.end:
                raise ArchiveDamaged(f"{segment.name}: the offset {one.offset} follows {before}")
            before = one.offset
            digests[one.offset] = _digest(one)
        if len(digests) != segment.records:
            raise ArchiveDamaged(f"{segment.name}: it has {len(digests)} records")
        return digests

    async def _compare(self, reader: AIOKafkaConsumer, segment: Segment, archived: dict[int, bytes]) -> None:
        found, first = self._found, max(segment.first, self._found.begin)
        end = min(segment.end, found.end)
        there, differ, unarchived = set[int](), list[int](), list[int]()
        for offset, digest in await self._kafka(reader, first, end):
            there.add(offset)
            if offset not in archived:
                unarchived.append(offset)
            elif archived[offset] != digest:
                differ.append(offset)
        found.compared += len(there)
        if differ:
            found.wrong.append(f"{segment.name}: Kafka has other records at {_some(differ)}")
        if unarchived and not found.kept.compacted:
            found.wrong.append(f"{segment.name}: Kafka has records at {_some(unarchived)}, which it has not")
        missing = [one for one in archived if first <= one < end and one not in there]
        if missing and not found.kept.compacted:
            found.wrong.append(f"{segment.name}: it has records at {_some(missing)}, which Kafka has not")

    async def _kafka(self, reader: AIOKafkaConsumer, first: int, end: int) -> list[tuple[int, bytes]]:
        if first >= end:
            return []
        reader.assign([self._tp])
        reader.seek(self._tp, first)
        digests, empty = list[tuple[int, bytes]](), 0
        while await reader.position(self._tp) < end:
            records = (await reader.getmany(self._tp, timeout_ms=_READ_MS, max_records=5_000)).get(self._tp, [])
            digests += [(one.offset, _digest(one)) for one in records if one.offset < end]
            empty = 0 if records else empty + 1
            if empty > _EMPTY:
                raise TimeoutError(f"{self._tp.topic} {self._tp.partition} gives nothing")
        return digests


def _digest(record: Any) -> bytes:
    headers = tuple((name, value) for name, value in record.headers)
    said = repr((record.timestamp, record.key, record.value, headers)).encode()
    return blake2b(said, digest_size=16).digest()


def _some(offsets: Iterable[int]) -> str:
    named = sorted(offsets)
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return ", ".join(map(str, named[:_NAMED])) + more
