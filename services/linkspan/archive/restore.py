"""Brings the topics of an integration back into an empty Kafka, each record to the offset that it had."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence

import msgspec
from aiokafka import TopicPartition

from linkspan.archive.kept import Kept, kept_of
from linkspan.archive.refill import Refill
from linkspan.kernel.archive.errors import ArchiveAway
from linkspan.kernel.archive.segment import Archived, Segment, covered_from, decode
from linkspan.kernel.archive.store import ArchiveStore
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.spec import Integration


class Back(msgspec.Struct):
    """Of one partition. ``first``, ``end``: of its log now; ``newest``: milliseconds since 1970, what came later is not
    here; ``left``: offsets below ``first`` that are in the archive alone."""

    kept: Kept
    first: int
    end: int
    records: int
    newest: int
    left: int


async def restored(
    integration: Integration, store: ArchiveStore, clients: KafkaClients, *, check: bool
) -> AsyncIterator[Back]:
    """The topics must be there, and empty. ``check``: writes nothing. When all is done, the archive is of this Kafka.

    Raises UserMistake, ArchiveAway, ArchiveDamaged, KafkaError.
    """
    await _see(store)
    kept = list(kept_of(integration))
    await _see_that_they_are_empty(clients, kept)
    for one in kept:
        yield await _Restore(store, clients, one).run(check=check)
    if not check:
        await _see(store)
        await store.begin(await clients.cluster())


async def _see(store: ArchiveStore) -> None:
    if await store.head() is None:
        raise ArchiveAway(f"there is no archive of {store.integration} at {store.url}")


async def _see_that_they_are_empty(clients: KafkaClients, kept: Sequence[Kept]) -> None:
    reader, tps = clients.reader(), [TopicPartition(one.place.topic, one.place.partition) for one in kept]
    try:
        await reader.start()
        ends = await reader.end_offsets(tps)
    finally:
        await stop_consumer(reader)
    used = [f"{tp.topic} {tp.partition} ends at {end}" for tp, end in ends.items() if end]
    if used:
        raise UserMistake(
            f"{used[0]} ({len(used)} partitions are not empty): a restore needs empty topics; delete them, make them "
            "anew with linkspan topics, and keep every process stopped"
        )


class _Restore:
    def __init__(self, store: ArchiveStore, clients: KafkaClients, kept: Kept) -> None:
        self._store, self._clients, self._kept = store, clients, kept

    async def run(self, *, check: bool) -> Back:
        segments = await self._store.segments(self._kept.place)
        wanted = _wanted(segments, self._kept, time.time() * 1000)
        first = wanted[0].first if wanted else 0
        end = max((one.end for one in wanted), default=0)
        newest = max((one.newest for one in segments), default=0)
        back = Back(self._kept, 0 if self._kept.compacted else first, end, 0, newest, 0)
        back.left = sum(one.records for one in segments if one.end <= first)
        if check:
            back.records = sum(one.records for one in wanted)
        elif wanted:
            back.records = await self._write(wanted, first, end)
        return back

    async def _write(self, segments: Sequence[Segment], first: int, end: int) -> int:
        place, count = self._kept.place, 0
        refill = Refill(self._clients, TopicPartition(place.topic, place.partition), compacted=self._kept.compacted)
        try:
            await refill.start()
            await refill.begin(first)
            for segment in segments:
                content = await self._store.get(place, segment)
                count += await refill.append(self._records(content))
            await refill.leave_out(end)
        finally:
            await refill.stop()
        return count

    def _records(self, content: bytes) -> Iterator[Archived]:
        return decode(self._kept.place.topic, self._kept.place.partition, content)


def _wanted(segments: Sequence[Segment], kept: Kept, now: float) -> list[Segment]:
    """Of a log what nothing is missing in to its end, as far as Kafka would keep it; of a compacted topic all."""
    if kept.compacted or not segments:
        return list(segments)
    end = max(one.end for one in segments)
    first = covered_from(segments, end)
    found = [one for one in segments if one.end > first]
    if kept.retention:
        young = [one for one in found if one.newest >= now - kept.retention]
        return [one for one in found if young and one.end > young[0].first] or found[-1:]
    return found
