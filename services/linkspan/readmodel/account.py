"""Reads a flow's events and outcomes to the ends they have at the start, without a group: headers, never payloads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.kernel.errors import KafkaAway, UserMistake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.reading import topics_there
from linkspan.kernel.topic_admin import ANSWER
from linkspan.kernel.topics import FlowTopics, Headers
from linkspan.readmodel.standing import positions
from linkspan.readmodel.tally import OWNER, Counts, PartitionTally

#: Unaccounted events that are named; all are counted.
LISTED = 100
#: A fetch may wait so long, and the reading is given up when nothing comes for so many of them.
_FETCH_MS, _EMPTY = 1_000, 30


@dataclass(frozen=True, slots=True)
class Span:
    """Milliseconds since 1970 of the event's record; None: open. ``end`` does not belong to it."""

    start: int | None = None
    end: int | None = None

    @property
    def whole(self) -> bool:
        return self.start is None and self.end is None

    def holds(self, timestamp: int) -> bool:
        return (self.start is None or timestamp >= self.start) and (self.end is None or timestamp < self.end)


@dataclass(frozen=True, slots=True)
class Unaccounted:
    """``at``: milliseconds since 1970; ``message_id``: None where the record does not say."""

    flow: str
    partition: int
    offset: int
    message_id: str | None
    at: int


@dataclass(slots=True)
class Account:
    """Of one flow. ``records``: how many were read; ``missing``: the first of the unaccounted, ``LISTED`` at most."""

    flow: str
    counts: Counts = field(default_factory=Counts)
    missing: list[Unaccounted] = field(default_factory=list)
    records: int = 0


async def account(clients: KafkaClients, integration: str, flow: str, partitions: int, span: Span) -> Account:
    """Raises KafkaAway, or UserMistake where a topic is missing."""
    reader = clients.reader()
    try:
        async with asyncio.timeout(ANSWER):
            await reader.start()
        return await _Reading(reader, clients, integration, flow, partitions, span).result()
    except (KafkaError, TimeoutError, OSError) as error:
        said = "" if isinstance(error, TimeoutError) else f" ({error})"
        raise KafkaAway(f"Kafka does not answer{said}; is it running, and is MESSAGE_QUEUE_URL right?") from error
    finally:
        await reader.stop()


class _Reading:
    """Ends of events, then positions, then ends of outcomes: what is below a position is then among the outcomes."""

    def __init__(
        self,
        reader: AIOKafkaConsumer,
        clients: KafkaClients,
        integration: str,
        flow: str,
        partitions: int,
        span: Span,
    ) -> None:
        topics = FlowTopics.of(integration, flow)
        self._reader, self._clients, self._integration, self._span = reader, clients, integration, span
        self._events = [TopicPartition(topics.events, number) for number in range(partitions)]
        self._outcomes = [TopicPartition(topics.outcomes, number) for number in range(partitions)]
        self._tallies: dict[int, PartitionTally] = {}
        self._account = Account(flow)

    async def result(self) -> Account:
        async with asyncio.timeout(2 * ANSWER):
            await self._check_topics()
            starts = await self._reader.beginning_offsets(self._events)
            ends = await self._reader.end_offsets(self._events)
            found = await positions(self._clients, self._integration, self._account.flow, range(len(self._events)))
            outcome_starts = await self._reader.beginning_offsets(self._outcomes)
            outcome_ends = await self._reader.end_offsets(self._outcomes)
            firsts = await self._first_of_span(starts, ends)
        stand = {number: starts[tp] if found[number] is None else found[number] for number, tp in self._numbered()}
        for number, tp in self._numbered():
            self._tallies[number] = PartitionTally(firsts[tp], ends[tp])
            if self._span.whole:
                self._tallies[number].expect_from(stand[number] or 0)
        await self._read(firsts, ends, self._take_events)
        await self._read(outcome_starts, outcome_ends, self._take_outcomes)
        for number, tally in self._tallies.items():
            self._account.counts.add(tally.counts(stand[number] or 0))
        if not self._span.whole:
            self._account.counts.strays = 0  # outcomes of events outside the range
        await self._name_missing({number: position or 0 for number, position in stand.items()})
        return self._account

    def _numbered(self) -> enumerate[TopicPartition]:
        return enumerate(self._events)

    async def _check_topics(self) -> None:
        there = await topics_there(self._reader)
        for topic in (self._events[0].topic, self._outcomes[0].topic):
            if topic not in there:
                raise UserMistake(f"Kafka has no topic {topic}; linkspan topics makes it")

    async def _first_of_span(
        self, starts: dict[TopicPartition, int], ends: dict[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Kafka knows the first record that is not older; later ones are looked at one by one."""
        if self._span.start is None:
            return starts
        found = await self._reader.offsets_for_times(dict.fromkeys(self._events, self._span.start))
        return {tp: ends[tp] if found.get(tp) is None else found[tp].offset for tp in self._events}

    async def _read(
        self,
        starts: dict[TopicPartition, int],
        ends: dict[TopicPartition, int],
        take: Callable[[PartitionTally, list[Any]], None],
    ) -> None:
        left = {tp for tp in starts if starts[tp] < ends[tp]}
        self._reader.assign(list(left))
        for tp in left:
            self._reader.seek(tp, starts[tp])
        empty = 0
        while left:
            found = await self._reader.getmany(*left, timeout_ms=_FETCH_MS)
            empty = 0 if found else empty + 1
            if empty > _EMPTY:
                raise TimeoutError
            for tp, records in found.items():
                self._account.records += len(records)
                take(
                    self._tallies[tp.partition], records if records[-1].offset < ends[tp] else _below(records, ends[tp])
                )
            for tp in tuple(left):
                if await self._reader.position(tp) >= ends[tp]:
                    left.remove(tp)
                    self._reader.pause(tp)

    def _take_events(self, tally: PartitionTally, records: list[Any]) -> None:
        holds = self._span.holds
        for record in records:
            if holds(record.timestamp):
                tally.event(record.offset)

    @staticmethod
    def _take_outcomes(tally: PartitionTally, records: list[Any]) -> None:
        for record in records:
            said = outcome_said(record)
            if said is not None:
                tally.outcome(*said)

    async def _name_missing(self, stand: dict[int, int]) -> None:
        """Message ids are not kept: those of the few that are named are read again."""
        for tp in self._events:
            for offset in self._tallies[tp.partition].unaccounted(stand[tp.partition]):
                if len(self._account.missing) >= LISTED:
                    return
                self._account.missing.append(await self._named(tp, offset))

    async def _named(self, tp: TopicPartition, offset: int) -> Unaccounted:
        self._reader.assign([tp])
        self._reader.seek(tp, offset)
        for _ in range(_EMPTY):
            for record in (await self._reader.getmany(tp, timeout_ms=_FETCH_MS, max_records=1)).get(tp, ()):
                said = dict(record.headers).get(Headers.MESSAGE_ID)
                message_id = None if said is None else said.decode("utf-8", "replace")
                return Unaccounted(self._account.flow, tp.partition, offset, message_id, record.timestamp)
        raise TimeoutError


def outcome_said(record: Any) -> tuple[str, int, int, int] | None:
    """Kind, event offset, epoch, and the end where it is about a range (else -1), by the headers; None for a replay's,
    which is not about the message's own status."""
    headers = dict(record.headers)
    if Headers.PLAN in headers:
        return None
    kind, offset = headers.get(Headers.KIND, b"").decode("ascii", "replace"), headers.get(Headers.OFFSET, b"")
    if not offset.isdigit():
        if kind != OWNER:
            return None
        offset = b"-1"
    epoch = headers.get(Headers.EPOCH, b"0")
    until = headers.get(Headers.UNTIL, b"")
    return kind, int(offset), int(epoch) if epoch.isdigit() else 0, int(until) if until.isdigit() else -1


def _below(records: list[Any], end: int) -> list[Any]:
    return [record for record in records if record.offset < end]
