"""Events and outcomes, record by record, into the topics with another number of partitions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from linkspan.egress.partition.holds import Holds
from linkspan.egress.partition.ids import Ids
from linkspan.egress.partition.memory import Memory
from linkspan.egress.repartition.look import Sight
from linkspan.egress.repartition.places import Places
from linkspan.egress.repartition.target import Target
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.errors import Poison, UserMistake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.merged import merged
from linkspan.kernel.records.epoch import OWNER, Epoch
from linkspan.kernel.records.event import hash64
from linkspan.kernel.records.fact import FINISHING, Fact
from linkspan.kernel.records.outcome import fact_of
from linkspan.kernel.records.position import Position
from linkspan.kernel.spec import Duplicates
from linkspan.kernel.topics import FlowTopics, Headers, partition_of

#: Told what is copied, how much of it is, and of how much.
Say = Callable[[str, int, int], None]
_SAY_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class Into:
    """``topics`` and ``partitions``: of the target."""

    topics: FlowTopics
    partitions: int
    duplicates: Duplicates
    codec: OutcomeCodec
    say: Say


class Copying:
    """From ``source`` to ``target``, of one flow each. What a run before has copied is not copied again."""

    def __init__(
        self, clients: KafkaClients, producer: AIOKafkaProducer, reader: AIOKafkaConsumer, sight: Sight, into: Into
    ) -> None:
        target, partitions, duplicates = into.topics, into.partitions, into.duplicates
        self._reader, self._sight, self._partitions = reader, sight, partitions
        self._codec, self._say = into.codec, into.say
        self.events = Target(clients, producer, target.events, partitions)
        self.outcomes = Target(clients, producer, target.outcomes, partitions)
        spans = {tp.partition: span for tp, span in sight.events.items()}
        self._places = Places(partitions, spans)
        self._memories = [
            Memory(Position(), Holds(), Ids(duplicates.count, int(duplicates.within * 1000))) for _ in range(partitions)
        ]
        self._epochs: dict[int, Epoch] = defaultdict(Epoch)
        #: By (partition of the source, of the target): the last outcome that a run before has copied.
        self._copied: dict[tuple[int, int], int] = defaultdict(lambda: -1)

    async def copy(self) -> None:
        """Raises Foreign, KafkaError."""
        await self.events.begin(self._reader, self._sight.begin, self._known_event)
        await self._copy_events()
        await self.outcomes.begin(self._reader, 0, self._known_outcome)
        await self._copy_outcomes()

    def _known_event(self, target: int, at: int, number: int, offset: int) -> None:
        self._places.put(number, offset, target, at)

    def _known_outcome(self, target: int, _at: int, number: int, offset: int) -> None:
        self._copied[number, target] = offset

    async def _copy_events(self) -> None:
        done, of = 0, sum(end - first for first, end in self._sight.events.values())
        async for record in merged(self._reader, self._sight.events):
            number, offset = record.partition, record.offset
            message_id = dict(record.headers).get(Headers.MESSAGE_ID)
            self._places.name(number, offset, 0 if message_id is None else hash64(message_id))
            if self._places.get(number, offset) is None:
                target = self._target(record)
                source = number, offset
                at = await self.events.append(
                    target, record.key, record.value, record.headers, record.timestamp, source
                )
                self._places.put(number, offset, target, at)
            done += 1
            if done % _SAY_EVERY == 0:
                self._say("events", done, of)
        await self.events.acknowledged()

    def _target(self, record: Any) -> int:
        """An event without a key, which only others than ingress write, stays with those of its partition."""
        if record.key is None:
            return int(record.partition) % self._partitions
        return partition_of(record.key, self._partitions)

    async def _copy_outcomes(self) -> None:
        done, of = 0, sum(end - first for first, end in self._sight.outcomes.values())
        async for record in merged(self._reader, self._sight.outcomes):
            fact = fact_of(record)
            done += 1
            if done % _SAY_EVERY == 0:
                self._say("outcomes", done, of)
            if not self._epochs[record.partition].valid(fact.kind, fact.epoch) or fact.kind == OWNER:
                continue
            if Headers.UNTIL in dict(record.headers):
                continue  # of events that are gone
            place = self._place(record, fact)
            if place is None:
                self._remember(record, fact)
            else:
                await self._append(record, place)
                self._fold(place, fact)
        await self.outcomes.acknowledged()

    def _place(self, record: Any, fact: Fact) -> tuple[int, int] | None:
        if fact.offset < 0:  # of a key alone
            return None if record.key is None else (self._target(record), -1)
        return self._places.get(record.partition, fact.offset, fact.id)

    async def _append(self, record: Any, place: tuple[int, int]) -> None:
        """But for what a run before has appended: of two partitions, outcomes are copied in their order."""
        (target, offset), source = place, (record.partition, record.offset)
        if record.offset <= self._copied[record.partition, target]:
            return
        value, headers = self._moved(record.value, offset), _headers(record, offset)
        await self.outcomes.append(target, record.key, value, headers, record.timestamp, source)

    def _moved(self, value: bytes | None, offset: int) -> bytes | None:
        try:
            datum = self._codec.decode(value)
        except Poison:
            return value
        return self._codec.encode({**datum, "offset": offset, "epoch": 0})

    def _fold(self, place: tuple[int, int], fact: Fact) -> None:
        if not fact.plan:
            self._memories[place[0]].fold(
                0, msgspec.structs.replace(fact, offset=place[1], epoch=0, parked=-1, control=-1)
            )

    def _remember(self, record: Any, fact: Fact) -> None:
        """The event is gone by its age, and the same id again is a duplicate still."""
        if record.key is not None and fact.kind in FINISHING and not fact.plan:
            alone = msgspec.structs.replace(fact, offset=-1, epoch=0, parked=-1, control=-1)
            self._memories[self._target(record)].fold(-1, alone)

    def position(self, number: int) -> tuple[Position, list[tuple[int, int, bytes]]]:
        """Of a partition of the target, with its ids (``Ids.changed``). Raises UserMistake where a key is held."""
        memory, begin = self._memories[number], self._sight.begin
        if len(memory.holds):
            keys = ", ".join(sorted(key.decode("utf-8", "replace") for key, _ in memory.holds.items())[:5])
            raise UserMistake(f"{self._sight.source}: keys are held ({keys}): redrive or discard their dead letters")
        finished = memory.position(begin).finished
        start = finished[0][1] if finished and finished[0][0] <= begin else begin
        position = replace(
            memory.position(start),
            epoch=0,
            outcomes=self.outcomes.ends[number],
            outcomes_epoch=0,
            control=self._sight.control_end,
            redriven=(),
            parked=0,
            cluster=self._sight.cluster,
        )
        return position, memory.ids.changed()


def _headers(record: Any, offset: int) -> list[tuple[str, bytes]]:
    """What names offsets of the source's own topics is changed or left out."""
    said = {Headers.OFFSET: b"%d" % offset, Headers.EPOCH: b"0"}
    return [(name, said.get(name, value)) for name, value in record.headers if name != Headers.PARKED]
