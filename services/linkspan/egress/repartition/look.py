"""What is to be copied, and why it may not be yet. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.control.fold import ControlState
from linkspan.egress.restore.running import running
from linkspan.kernel.commands import FLUSH, CommandCodec
from linkspan.kernel.errors import Poison, UserMistake
from linkspan.kernel.kafka.clients import KafkaClients, started_reader, stop_consumer
from linkspan.kernel.kafka.published import PublishedSchemas
from linkspan.kernel.kafka.reading import read_all, topics_there
from linkspan.kernel.records.copied import CopyMark
from linkspan.kernel.records.parked import Copy
from linkspan.kernel.records.position import Position
from linkspan.kernel.records.state import COPIED, POSITION, StateCodec
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.topics import FlowTopics, control_topic
from linkspan.readmodel.account import Account, Span, account

Ends = dict[TopicPartition, tuple[int, int]]
#: By partition of the source: offset of the last command, and the event offset where that flush ends.
Flushes = dict[int, tuple[int, int]]


@dataclass(slots=True)
class Sight:
    """``source``, ``target``: flows. ``events``, ``outcomes``: (first, end) of each partition of the source; ``state``:
    the same of its state. ``obstacles``: a line each, with what to do."""

    source: str
    target: str
    partitions: int
    cluster: str
    control: ControlState
    control_end: int
    account: Account
    events: Ends
    outcomes: Ends
    state: Ends
    obstacles: list[str] = field(default_factory=list)

    @property
    def begin(self) -> int:
        """Where the target's events begin: above all that the source had, so that sequences go on rising."""
        return max((end for _, end in self.events.values()), default=0)


class Look:
    def __init__(self, clients: KafkaClients, integration: Integration, catalog: SchemaCatalog, target: str) -> None:
        self._clients, self._integration, self._catalog = clients, integration, catalog
        source = integration.flows[target].copied_from
        if source is None:
            raise UserMistake(f"flows.{target}.copied_from: say which flow it takes the place of")
        self.source, self.target = source, target
        self._old = FlowTopics.of(integration.integration, source)
        self._new = FlowTopics.of(integration.integration, target)
        self._states = StateCodec(catalog)

    async def mark(self) -> CopyMark | None:
        """Of the target; None where its topics are missing, or empty. Raises UserMistake where they are of something
        else, KafkaError."""
        await PublishedSchemas(self._clients, self._integration.integration, self._catalog).refresh()
        reader = await started_reader(self._clients.reader())
        try:
            there = await topics_there(reader)
            if self._new.state in there:
                return await self._mark(reader, self._new.state)
            if self._new.events in there:
                raise UserMistake(
                    f"{self._new.events} is there without {self._new.state}: delete it, or take another name"
                )
            return None
        finally:
            await stop_consumer(reader)

    async def look(self) -> Sight:
        """Raises UserMistake, KafkaError, KafkaAway."""
        reader = await started_reader(self._clients.reader())
        try:
            return await self._looked(reader)
        finally:
            await stop_consumer(reader)

    async def _looked(self, reader: AIOKafkaConsumer) -> Sight:
        name, there = self._integration.integration, await topics_there(reader)
        if self._old.events not in there:
            raise UserMistake(f"flows.{self.target}.copied_from: Kafka has no topic {self._old.events}")
        numbers = range(await partitions_of(self._clients, self._old.events))
        control, control_end, flushes = await self._commanded(reader)
        sight = Sight(
            self.source,
            self.target,
            len(numbers),
            await self._clients.cluster(),
            control,
            control_end,
            await account(self._clients, name, self.source, len(numbers), Span()),
            await spans(reader, self._old.events, len(numbers)),
            await spans(reader, self._old.outcomes, len(numbers)),
            await spans(reader, self._old.state, len(numbers)),
        )
        sight.obstacles += await running(self._clients, self._integration, self._catalog, [self.source])
        sight.obstacles += self._accounted(sight)
        for number in numbers:
            sight.obstacles += await self._of_partition(reader, number, flushes)
        return sight

    def _accounted(self, sight: Sight) -> Iterator[str]:
        unaccounted = sight.account.counts.unaccounted
        if unaccounted:
            yield f"{self.source}: {unaccounted} events are unaccounted (linkspan audit names them)"
        for replay in sight.control.replays:
            if replay.flow == self.source and replay.active:
                yield f"{self.source}: the replay {replay.plan} is {replay.phase}: let it end, or cancel it"

    async def _of_partition(self, reader: AIOKafkaConsumer, number: int, flushes: Flushes) -> list[str]:
        copies: set[int] = set()

        def take(record: Any) -> None:
            copy = Copy(record)
            (copies.discard if copy.gone else copies.add)(copy.offset)

        await read_all(reader, TopicPartition(self._old.parked, number), 0, None, take)
        position, mark = await self._state(reader, number)
        said = []
        if copies:
            what = f"{len(copies)} messages are dead letters or wait behind one"
            said.append(f"{self.source} {number}: {what}: redrive or discard them (linkspan dead-letters)")
        at, end = flushes.get(number, (-1, -1))
        if at >= position.control and end > position.events:
            said.append(f"{self.source} {number}: flush-queue is not carried out yet: start egress, and stop it again")
        if mark is not None and mark.done and mark.source == self.source and mark.target != self.target:
            said.append(f"{self.source} {number}: was copied to {mark.target} already")
        return said

    async def _state(self, reader: AIOKafkaConsumer, number: int) -> tuple[Position, CopyMark | None]:
        found: dict[bytes, bytes | None] = {}

        def take(record: Any) -> None:
            if record.key in (POSITION, COPIED):
                found[record.key] = record.value

        await read_all(reader, TopicPartition(self._old.state, number), 0, None, take)
        position, mark = found.get(POSITION), found.get(COPIED)
        return (
            Position() if position is None else self._states.decode(position),
            None if mark is None else self._states.decode_mark(mark),
        )

    async def _mark(self, reader: AIOKafkaConsumer, state: str) -> CopyMark | None:
        """Raises UserMistake where the topics are of something else."""
        found: dict[bytes, bytes | None] = {}
        await read_all(reader, TopicPartition(state, 0), 0, None, lambda one: found.update({one.key: one.value}))
        value = found.get(COPIED)
        mark = None if value is None else self._states.decode_mark(value)
        if (mark is None and found) or (mark is not None and mark.source != self.source):
            raise UserMistake(f"flows.{self.target}: its topics are in use already: give the flow another name")
        return mark

    async def _commanded(self, reader: AIOKafkaConsumer) -> tuple[ControlState, int, Flushes]:
        """What is in force, where the log ends, and the last flush of each partition: its offset, and where it ends."""
        state, flushes, codec = ControlState(), dict[int, tuple[int, int]](), CommandCodec(self._catalog)

        def take(record: Any) -> None:
            try:
                command = codec.read(record.value, record.headers)
            except Poison:
                return
            state.fold(command)
            if command.kind == FLUSH and command.flow == self.source:
                flushes[command.partition] = record.offset, command.offset

        control = TopicPartition(control_topic(self._integration.integration), 0)
        return state, await read_all(reader, control, 0, None, take), flushes


async def partitions_of(clients: KafkaClients, topic: str) -> int:
    """0: there is no such topic."""
    admin = clients.admin()
    try:
        await admin.start()
        topics = await admin.describe_topics()  # all: to ask for one by name would create it on a broker that does that
    finally:
        await admin.close()
    return next((len(one["partitions"]) for one in topics if one["topic"] == topic and not one["error_code"]), 0)


async def spans(reader: AIOKafkaConsumer, topic: str, partitions: int) -> Ends:
    """(first, end) of each partition."""
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    firsts, ends = await reader.beginning_offsets(tps), await reader.end_offsets(tps)
    return {tp: (int(firsts[tp]), int(ends[tp])) for tp in tps}
