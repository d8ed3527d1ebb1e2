"""Whether a partition's logs are the ones that its position speaks of.

Positions, holds and outcomes name offsets. In a Kafka that was restored from a mirror or a copy the logs may be
shorter, each by another amount, or stand elsewhere: a message that comes next would get an offset that is finished
already, and be skipped. So an owner looks before it takes over. docs/decisions/0020
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.records.event import hash64
from linkspan.kernel.records.fact import FINISHING, Fact
from linkspan.kernel.records.hold import Hold
from linkspan.kernel.records.outcome import fact_of
from linkspan.kernel.records.position import Position
from linkspan.kernel.topics import FlowTopics, Headers

#: The newest outcomes that are looked at, and events of them that are compared.
_NEWEST, _COMPARED = 100, 3
_FETCH_MS, _TRIES = 1_000, 5


class Misfit(LinkspanError):
    """The partition is not delivered until ``linkspan restored`` has put its state right."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"{why}: Kafka was restored, or topics were made anew. Nothing of this partition is delivered until "
            "linkspan restored FILE --write has put its state right (docs/runbooks/kafka-restored.md)"
        )


class WrittenElsewhere(Misfit):
    """The partition's state was written by a version of Linkspan that this one cannot read; it is not delivered."""

    def __init__(self, why: str) -> None:
        LinkspanError.__init__(
            self, f"its state was written by another version of Linkspan ({why}): deliver it with that one, or a newer"
        )


class CopiedFlow(Misfit):
    """``linkspan repartition`` copies the flow, or did; it is not delivered."""

    def __init__(self, why: str) -> None:
        LinkspanError.__init__(self, why)


def misplaced(position: Position, holds: Iterable[Hold], ends: Mapping[str, int], cluster: str) -> str | None:
    """Why these cannot be of one Kafka. ``ends``: of ``events``, ``outcomes``, ``parked`` and ``control``."""
    if position.cluster and cluster and position.cluster != cluster:
        return f"the position is of Kafka cluster {position.cluster}, and this is {cluster}"
    held = [*holds]
    named = {
        "events": max(
            [position.events, *(end for _, end in position.finished), *(max(one.dead, one.last) + 1 for one in held)]
        ),
        "outcomes": position.outcomes,
        "parked": max([position.parked, *(one.start for one in held)]),
        "control": position.control,
    }
    short = [f"{log} ends at {ends[log]} and {at} is named" for log, at in named.items() if at > ends[log]]
    return "; ".join(short) or None


class Fit:
    """Of one partition."""

    def __init__(self, topics: FlowTopics, control: TopicPartition, partition: int) -> None:
        self._logs = {
            "events": TopicPartition(topics.events, partition),
            "outcomes": TopicPartition(topics.outcomes, partition),
            "parked": TopicPartition(topics.parked, partition),
            "control": control,
        }

    async def check(
        self, reader: AIOKafkaConsumer, position: Position, holds: Mapping[bytes, Hold], cluster: str
    ) -> None:
        """Raises Misfit, KafkaError. ``position`` and ``holds`` were read before, so that no end can be older."""
        found = await reader.end_offsets(list(self._logs.values()))
        ends = {log: int(found[tp]) for log, tp in self._logs.items()}
        if (why := misplaced(position, holds.values(), ends, cluster)) is not None:
            raise Misfit(why)
        said = await self._newest_outcomes(reader, position.checked, ends["outcomes"])
        beyond = max((fact.offset for fact in said), default=-1)
        if beyond >= (end := int((await reader.end_offsets([self._logs["events"]]))[self._logs["events"]])):
            raise Misfit(f"events ends at {end} and an outcome names {beyond}")
        await self._compare(reader, said)

    async def _newest_outcomes(self, reader: AIOKafkaConsumer, checked: int, end: int) -> list[Fact]:
        """Those that finish an event, the newest first."""
        outcomes = self._logs["outcomes"]
        first = int((await reader.beginning_offsets([outcomes]))[outcomes])
        reader.assign([outcomes])
        reader.seek(outcomes, max(first, checked, end - _NEWEST))
        said: list[Fact] = []
        while await reader.position(outcomes) < end:
            for record in (await reader.getmany(outcomes, timeout_ms=_FETCH_MS)).get(outcomes, ()):
                fact = fact_of(record)
                if fact.kind in FINISHING and fact.id is not None and not fact.plan:
                    said.append(fact)
        return said[::-1]

    async def _compare(self, reader: AIOKafkaConsumer, said: list[Fact]) -> None:
        """A few of the events that they name, the newest and others on the way."""
        events = self._logs["events"]
        first = int((await reader.beginning_offsets([events]))[events])
        there = [fact for fact in said if fact.offset >= first]
        reader.assign([events])
        for fact in there[:: max(1, -(-len(there) // _COMPARED))]:
            reader.seek(events, fact.offset)
            record = await _first(reader, events, fact.offset)
            if record is None or record.offset != fact.offset or message_hash(record) != fact.id:
                raise Misfit(f"an outcome names the event {fact.offset}, where another message stands, or none")


async def _first(reader: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> Any:
    """At ``offset``, or the next one; None where only markers follow. Raises KafkaError where Kafka is slow."""
    for _ in range(_TRIES):
        for record in (await reader.getmany(partition, timeout_ms=_FETCH_MS, max_records=1)).get(partition, ()):
            return record
        if await reader.position(partition) > offset:
            return None
    raise KafkaTimeoutError(f"no event at {offset} within {_TRIES} s")


def message_hash(record: Any) -> int | None:
    """64 bits of the message id of an event, None where its headers name none."""
    message_id = dict(record.headers).get(Headers.MESSAGE_ID)
    return None if message_id is None else hash64(message_id)


async def out_of_range(consumer: AIOKafkaConsumer, events: TopicPartition) -> tuple[int, int]:
    """Where a fetch was to go on that Kafka says is out of range, and where the log begins after it. Raises Misfit
    where the log ends before it, KafkaError."""
    wanted = int(await consumer.position(events))
    first = int((await consumer.beginning_offsets([events]))[events])
    if wanted > first:
        raise Misfit(f"delivery was to go on at the event {wanted}, and the log ends before")
    return wanted, first
