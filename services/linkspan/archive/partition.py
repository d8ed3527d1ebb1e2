"""Archives one partition: what its log has after the last segment becomes further segments."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.archive.kept import OUTCOMES_LONGER_MS, Kept
from linkspan.kernel.archive.errors import ArchiveDamaged
from linkspan.kernel.archive.segment import encode
from linkspan.kernel.archive.store import ArchiveStore
from linkspan.kernel.telemetry.metrics import ARCHIVE_MISSED

log = structlog.get_logger()

_READ_MS, _EMPTY = 1_000, 30


class Limits(msgspec.Struct, frozen=True):
    """A segment is closed at so many ``records`` or ``bytes`` (before compression), or when its oldest record is
    ``age`` old, seconds. ``keep``: segments whose newest record is older are deleted, seconds, 0: never."""

    records: int = 100_000
    bytes: int = 32 * 1024 * 1024
    age: float = 600.0
    keep: float = 0.0


class Standing(msgspec.Struct):
    """Of a partition after a round. ``lag``: records' offsets that are not archived, ``lag_seconds``: the age of the
    oldest of them; ``archived``: records, ``missed``: offsets that retention took before, both of this round."""

    lag: int = 0
    lag_seconds: float = 0.0
    archived: int = 0
    segments: int = 0
    bytes: int = 0
    missed: int = 0
    deleted: int = 0


class PartitionArchiver:
    """What is done is what the store lists, so nothing else is kept. Raises ArchiveAway, ArchiveDamaged, KafkaError."""

    def __init__(self, store: ArchiveStore, kept: Kept, limits: Limits) -> None:
        self._store, self._kept, self._limits = store, kept, limits
        self._tp = TopicPartition(kept.place.topic, kept.place.partition)
        self._end: int | None = None
        self._seen: tuple[int, float] = -1, 0.0

    async def round(self, reader: AIOKafkaConsumer, *, everything: bool) -> Standing:
        """``everything``: up to the log's end of now, however young and little it is."""
        found, tp = Standing(), self._tp
        begin = (await reader.beginning_offsets([tp]))[tp]
        end = (await reader.end_offsets([tp]))[tp]
        at = self._end = await self._begun(begin, end, found)
        while at < end:
            found.lag_seconds = await self._oldest(reader, at)
            if not everything and end - at < self._limits.records and found.lag_seconds < self._limits.age:
                break
            at = self._end = await self._write(reader, at, end, found)
            found.lag_seconds = 0.0
        found.lag = end - at
        if self._limits.keep and not self._kept.compacted and self._kept.retention:
            found.deleted = await self._forget()
        return found

    def begin_anew(self) -> None:
        """The next round asks the store where to go on."""
        self._end = None

    async def _begun(self, begin: int, end: int, found: Standing) -> int:
        """Where to go on."""
        at, place = self._end, self._kept.place
        if at is None:
            at = max((one.end for one in await self._store.segments(place)), default=-1)
        if at < 0:
            return int(begin)
        if end < at:
            raise ArchiveDamaged(
                f"{place.topic} {place.partition} ends at {end} and is archived up to {at}: this is another log"
            )
        if at < begin:
            found.missed = begin - at
            what = {"topic": place.topic, "partition": place.partition, "first": at, "end": begin}
            log.error("retention was faster than the archive", **what, missed=begin - at)
            ARCHIVE_MISSED.labels(self._kept.flow, self._kept.what).inc(begin - at)
            return int(begin)
        return at

    async def _oldest(self, reader: AIOKafkaConsumer, at: int) -> float:
        """Age of the record at ``at`` or after it, seconds, by its timestamp, or since when it is known here."""
        now = time.monotonic()
        if self._seen[0] != at:
            self._seen = at, now
        for record in await self._some(reader, at, 1):
            return float(max(now - self._seen[1], time.time() - record.timestamp / 1000))
        return now - self._seen[1]

    async def _some(self, reader: AIOKafkaConsumer, at: int, most: int | None) -> list[Any]:
        reader.assign([self._tp])
        reader.seek(self._tp, at)
        return list((await reader.getmany(self._tp, timeout_ms=_READ_MS, max_records=most)).get(self._tp, ()))

    async def _write(self, reader: AIOKafkaConsumer, first: int, end: int, found: Standing) -> int:
        """One segment; where the next one begins."""
        records, end = await self._read(reader, first, end)
        if self._kept.compacted:
            records = _newest(records)
        place = self._kept.place
        segment, content = await asyncio.to_thread(encode, place.topic, place.partition, first, end, records)
        await self._store.put(place, segment, content)
        found.archived += len(records)
        found.segments += 1
        found.bytes += len(content)
        return end

    async def _read(self, reader: AIOKafkaConsumer, first: int, end: int) -> tuple[list[Any], int]:
        """Records of a segment, and the offset after it, which may lie beyond the last: a transaction's marker."""
        tp, records, size, empty, to = self._tp, list[Any](), 0, 0, first
        reader.assign([tp])
        reader.seek(tp, first)
        while (at := await reader.position(tp)) < end and empty <= _EMPTY:
            if len(records) >= self._limits.records or size >= self._limits.bytes:
                break
            most = self._limits.records - len(records)
            some = (await reader.getmany(tp, timeout_ms=_READ_MS, max_records=most)).get(tp, [])
            if some and some[0].offset > to and await self._begins_after(reader, to):
                break
            records += some
            size += sum(_size(one) for one in some)
            empty, to = (0, some[-1].offset + 1) if some else (empty + 1, to)
        if empty > _EMPTY:
            raise TimeoutError(f"{tp.topic} {tp.partition} gives nothing at {at}, and ends at {end}")
        if at > to and await self._begins_after(reader, to):
            at = to
        if at == first:
            raise TimeoutError(f"{tp.topic} {tp.partition} begins after {first} now: the next round says so")
        return records, int(at)

    async def _begins_after(self, reader: AIOKafkaConsumer, offset: int) -> bool:
        """Retention that runs while it is read must not look like a transaction's marker."""
        return bool((await reader.beginning_offsets([self._tp]))[self._tp] > offset)

    async def _forget(self) -> int:
        """Deletes what is old enough, from the beginning on; the last segment stays."""
        keep = self._limits.keep + (OUTCOMES_LONGER_MS / 1000 if self._kept.what == "outcomes" else 0)
        before, deleted = (time.time() - keep) * 1000, 0
        for one in (await self._store.segments(self._kept.place))[:-1]:
            if one.newest >= before:
                break
            await self._store.delete(self._kept.place, one)
            deleted += 1
        return deleted


def _size(record: Any) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def _newest(records: list[Any]) -> list[Any]:
    """Of each key."""
    last = {record.key: record.offset for record in records if record.key is not None}
    return [one for one in records if one.key is None or last[one.key] == one.offset]
