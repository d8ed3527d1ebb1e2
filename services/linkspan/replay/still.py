"""Whether a frozen plan still matches the log: its list, the records that it names, and the outcomes since."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.kernel.errors import LinkspanError, Poison
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.parked import Copy
from linkspan.kernel.records.plan import PlanCodec, Planned, PlanPart, Stood, check_of, unsent
from linkspan.kernel.topics import FlowTopics, Headers
from linkspan.replay.account import Run
from linkspan.replay.frozen import NotAsFrozen, entries_of, planned
from linkspan.replay.parts import each_part

#: Records of a partition that are looked at beside the first and the last.
_SOME = 8
_FETCH_MS, _EMPTY = 1_000, 10


class Stale(LinkspanError):
    """Why the plan matches the log no longer."""


async def check_plan(clients: KafkaClients, run: Run, codec: PlanCodec) -> None:
    """Reads the list, and of each partition the first, the last and some of the records that would be sent. Raises
    Stale, KafkaError."""
    if sha256(b"".join(part.sha256 for part in run.head.partitions)).digest() != run.head.sha256:
        raise Stale("the digests of its partitions are not those that were frozen")

    async def check(reader: AIOKafkaConsumer, part: PlanPart) -> None:
        await _Part(reader, run, part).check(codec)

    await each_part(clients, run.head.partitions, check)


class _Part:
    def __init__(self, reader: AIOKafkaConsumer, run: Run, part: PlanPart) -> None:
        topics = FlowTopics.of(run.integration, run.flow)
        self._reader, self._run, self._part = reader, run, part
        self._events, self._outcomes, self._parked, self._replays = (
            TopicPartition(topic, part.partition)
            for topic in (topics.events, topics.outcomes, topics.parked, topics.replays)
        )

    async def check(self, codec: PlanCodec) -> None:
        await self._check_ends()
        try:
            chunks = await entries_of(self._reader, self._replays, self._run.plan, self._part, codec)
            records, parked = await asyncio.to_thread(self._chosen, chunks)
        except (NotAsFrozen, Poison) as error:
            raise Stale(str(error)) from error
        first = (await self._reader.beginning_offsets([self._events]))[self._events]
        for record in records:
            if record.offset < first:
                raise Stale(f"{self._name(record)} is gone by retention: the log begins at {first}")
        for record in records:
            await self._check_event(record)
        if parked:
            await self._check_parked(parked)

    async def _check_ends(self) -> None:
        part = self._part
        begins = (await self._reader.beginning_offsets([self._outcomes]))[self._outcomes]
        if begins > part.outcomes:
            raise Stale(f"outcomes of partition {part.partition} that came after the plan are gone by retention")
        for what, topic, seen in (("events", self._events, part.end), ("outcomes", self._outcomes, part.outcomes)):
            end = (await self._reader.end_offsets([topic]))[topic]
            if end < seen:
                text = f"partition {part.partition} of {what} ends at {end}, and ended at {seen}: it is another log"
                raise Stale(text)

    def _chosen(self, chunks: Sequence[bytes]) -> tuple[list[Planned], list[Planned]]:
        """Of those to be sent some that are in the events, and some that are in parked alone."""
        options, to_send = self._run.options, self._part.to_send(self._run.options)
        every, here, parked, last = max(1, to_send // (_SOME + 1)), list[Planned](), list[Planned](), None
        sent = (one for one in planned(chunks) if unsent(Stood.of(one.code), options) is None)
        for number, one in enumerate(sent):
            last = one
            if number % every == 0:
                (parked if Stood.of(one.code).parked else here).append(one)
        if last is not None and last not in (here[-1:] + parked[-1:]):
            (parked if Stood.of(last.code).parked else here).append(last)
        return here, parked

    async def _check_event(self, wanted: Planned) -> None:
        self._reader.assign([self._events])
        self._reader.seek(self._events, wanted.offset)
        for _ in range(_EMPTY):
            for record in await self._fetched():
                there = record.offset == wanted.offset and check_of(_message_id(record.headers)) == wanted.check
                if not there:
                    raise Stale(f"{self._name(wanted)} is not there any more, or is another message")
                return
        raise TimeoutError

    async def _fetched(self) -> Iterator[Any]:
        found = await self._reader.getmany(self._events, timeout_ms=_FETCH_MS, max_records=1)
        return iter(found.get(self._events, ()))

    async def _check_parked(self, wanted: Sequence[Planned]) -> None:
        checks = {one.offset: one.check for one in wanted}
        found: dict[int, int] = {}

        def take(record: Any) -> None:
            copy = Copy(record)
            if copy.offset not in checks:
                return
            found.pop(copy.offset, None)
            if not copy.gone:
                found[copy.offset] = check_of(_message_id(record.headers))

        await read_all(self._reader, self._parked, 0, None, take)
        for one in wanted:
            if found.get(one.offset) != one.check:
                raise Stale(f"{self._name(one)} stood in parked alone, and does so no longer")

    def _name(self, record: Planned) -> str:
        return f"event {self._run.flow}/{self._part.partition}:{record.offset}"


def _message_id(headers: Sequence[tuple[str, bytes]]) -> bytes | None:
    return dict(headers).get(Headers.MESSAGE_ID)
