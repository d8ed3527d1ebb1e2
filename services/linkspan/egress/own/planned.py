"""What a plan names, read again: its frozen list, and the events at the planned offsets."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.egress.own.copies import Copies
from linkspan.kernel.errors import Poison
from linkspan.kernel.kafka.clients import KafkaClients, started_reader, stop_consumer
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.event import Event
from linkspan.kernel.records.listed import Listed
from linkspan.kernel.records.plan import PlanCodec, PlanPart, Stood, chunk_key, unpacked

#: Planned offsets that stand no further apart are read in one go, others are sought.
_NEAR = 500
#: One reading ends after so many bytes of planned events.
_BYTES = 8 * 1024 * 1024
#: Of one answer of Kafka's, which is thrown away where only one of it was wanted.
_FETCH_BYTES = 256 * 1024
_FETCH_MS = 1_000
#: Entries of a list that are read before the event loop has its turn.
_TURN = 500


class NotAsFrozen(Poison):
    """The list is not, or not any more, the one that the plan's head names."""


class PlannedEvents:
    """Of one partition; ``find`` is to be asked in the order of the offsets. ``copies`` is its own to close."""

    def __init__(
        self, clients: KafkaClients, replays: TopicPartition, events: TopicPartition, copies: Copies, codec: PlanCodec
    ) -> None:
        self._clients, self._replays, self._events, self._copies = clients, replays, events, copies
        self._codec = codec
        self._reader: AIOKafkaConsumer | None = None
        self._at = -1

    async def into(self, listed: Listed, plan: str, part: PlanPart) -> None:
        """Adds the frozen list. Raises NotAsFrozen, KafkaError."""
        wanted = {chunk_key(plan, number): number for number in range(part.chunks)}
        chunks: dict[int, bytes] = {}

        def take(record: Any) -> None:
            number = wanted.get(record.key)
            if number is not None and record.value is not None:
                chunks[number] = record.value

        await read_all(await self._running(), self._replays, 0, None, take)
        self._at = -1
        if len(chunks) < part.chunks:
            raise NotAsFrozen(f"{part.chunks - len(chunks)} of {part.chunks} pieces of its list are gone")
        before, digest = 0, hashlib.sha256()
        for number in range(part.chunks):
            entries = self._codec.decode_chunk(chunks.pop(number))[3]
            digest.update(entries)
            for count, entry in enumerate(unpacked(entries, before)):
                listed.add(entry)
                before = entry.offset
                if count % _TURN == 0:
                    await asyncio.sleep(0)
        if digest.digest() != part.sha256 or len(listed) != part.records:
            raise NotAsFrozen("its list is not the one that was frozen: the SHA-256 differs")

    async def find(self, wanted: Sequence[tuple[int, int]]) -> list[tuple[int, Event | None]]:
        """(offset, how it stood) of each; the event of as many of the first ones as were looked for, None where it is
        gone. Raises KafkaError."""
        inside = [offset for offset, code in wanted if not Stood.of(code).parked]
        found, looked_to = await self._read(inside)
        looked = [offset for offset, _ in wanted if offset < looked_to or looked_to < 0]
        missing = [offset for offset in looked if offset not in found]
        if missing:
            copies, count = await self._copies.named(missing)
            found |= {offset: copy.event() for offset, copy in copies.items()}
            looked = looked[: looked.index(missing[count])] if count < len(missing) else looked
        return [(offset, found.get(offset)) for offset in looked]

    async def _read(self, offsets: list[int]) -> tuple[dict[int, Event], int]:
        """And below which offset all of them were looked for, -1: all."""
        reader, wanted, found, size = await self._running(), set(offsets), dict[int, Event](), 0
        if offsets and self._at < 0:
            reader.assign([self._events])
        if offsets and offsets[0] < self._at:
            reader.seek(self._events, offsets[0])  # the reading before went beyond what was wanted then
            self._at = offsets[0]
        for offset in offsets:
            if offset < self._at:
                continue
            if self._at < 0 or offset - self._at > _NEAR:
                reader.seek(self._events, offset)
            while (at := await reader.position(self._events)) <= offset:
                most = min(_NEAR, offsets[-1] - at + 1)
                records = await reader.getmany(self._events, timeout_ms=_FETCH_MS, max_records=most)
                for record in records.get(self._events, ()):
                    if record.offset in wanted:
                        found[record.offset] = Event.of(record)
                        size += len(record.value or b"")
            self._at = at
            if size >= _BYTES:
                return found, self._at
        return found, -1

    async def _running(self) -> AIOKafkaConsumer:
        if self._reader is None:
            self._reader = await started_reader(self._clients.past(max_partition_fetch_bytes=_FETCH_BYTES))
        return self._reader

    async def fold(self, outcomes: TopicPartition, start: int, take: Any) -> int:
        """All outcomes from ``start``; where they end. Raises KafkaError."""
        end = await read_all(await self._running(), outcomes, start, None, take, most=_TURN)
        self._at = -1
        return end

    async def close(self) -> None:
        reader, self._reader, self._at = self._reader, None, -1
        await self._copies.close()
        if reader is not None:
            await stop_consumer(reader)
