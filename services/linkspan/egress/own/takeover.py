"""Taking a partition over: the numbered steps of ``docs/architecture.md``, in the only order that is safe.

A commit to the group comes before and after the former owner is fenced: a member that was cut off finds out before it
fences the rightful owner, or before it marks an epoch. Whatever fails ends the takeover; it begins again at step 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.control.tail import ControlTail
from linkspan.egress.own.control import Inbox
from linkspan.egress.own.fit import CopiedFlow, Fit, WrittenElsewhere
from linkspan.egress.own.membership import Membership
from linkspan.egress.own.store import StateStore
from linkspan.egress.partition.holds import Holds
from linkspan.egress.partition.ids import Ids
from linkspan.egress.partition.memory import Memory
from linkspan.egress.record.outcome import OutcomeWriter
from linkspan.egress.record.recorder import Recorder
from linkspan.kernel.errors import LinkspanError, UnknownWriter
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.kafka.published import PublishedSchemas
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.hold import Hold
from linkspan.kernel.records.outcome import fact_of
from linkspan.kernel.records.parked import Copy, copy_key
from linkspan.kernel.records.position import Position
from linkspan.kernel.records.state import COPIED, HOLD, IDS, POSITION, StateCodec
from linkspan.kernel.topics import FlowTopics

log = structlog.get_logger()


class Overtaken(LinkspanError):
    """The outcomes name a higher epoch: of a newer owner, or of one whose ``state`` is gone. The next try begins above
    ``epoch``."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"epoch {epoch} has begun in the outcomes")
        self.epoch = epoch


@dataclass(frozen=True, slots=True)
class Taken:
    """What a former owner left. ``start``: the first event to fetch; ``end``: the log's end now; ``wanted``: where the
    position was; what lies between that and ``start`` is gone by retention."""

    memory: Memory
    epoch: int
    start: int
    end: int
    wanted: int


class Takeover:
    """Of one partition. ``ids``: an empty window, to be filled; ``above``: the epoch must be higher than this one."""

    def __init__(
        self,
        clients: KafkaClients,
        topics: FlowTopics,
        partition: int,
        membership: Membership,
        codec: StateCodec,
        ids: Ids,
        above: int = 0,
    ) -> None:
        self._clients, self._membership, self._codec, self._above = clients, membership, codec, above
        self._ids = ids
        self._partition = partition
        self._flow = topics.flow.encode()
        self._events = TopicPartition(topics.events, partition)
        self._outcomes = TopicPartition(topics.outcomes, partition)
        self._state = TopicPartition(topics.state, partition)
        self._parked = TopicPartition(topics.parked, partition)
        self._topics = topics
        self._cluster = ""
        self._position: Position | None = None
        self._holds: dict[bytes, Hold] = {}
        self._slots: dict[bytes, tuple[int, bytes]] = {}

    async def run(
        self, store: StateStore, recorder: Recorder, writer: OutcomeWriter, control: ControlTail, inbox: Inbox
    ) -> Taken:
        """Starts ``store`` and ``recorder``, which are the caller's to discard, and puts the commands that wait into
        ``inbox``. Raises Misfit, CommitRefused, StateLost, AppendFailed, Overtaken, KafkaError."""
        reader = self._clients.reader()
        try:
            await control.schemas.ready()
            await reader.start()
            read_to = await self._read_state(reader, 0, control.schemas)
            await self._fits(reader, control.partition)
            self._did(1, "state read")
            await self._confirm(reader)
            self._did(2, "member")
            await store.start()
            self._did(3, "former owner fenced")
            await self._read_state(reader, read_to, control.schemas)
            self._did(4, "state read again")
            start, wanted = await self._confirm(reader)
            self._did(5, "still member")
            position = self._allocated(start)
            await store.write([(self._state, POSITION, self._codec.encode(position), [])])
            self._did(6, "epoch allocated")
            await recorder.start()
            marked_at = await recorder.begin(*writer.owner(position.epoch))
            self._did(7, "epoch begun")
            memory = await self._fold(reader, position, marked_at + 1)
            if orphans := memory.orphans():
                await store.write([(self._parked, copy_key(offset), None, []) for offset in orphans])
            self._did(8, "outcomes folded")
            await self._commands(reader, memory.control, control, inbox)
            self._did(9, "commands read")
            end = (await reader.end_offsets([self._events]))[self._events]
        finally:
            await stop_consumer(reader)
        return Taken(memory, position.epoch, start, end, wanted)

    async def _commands(self, reader: AIOKafkaConsumer, start: int, control: ControlTail, inbox: Inbox) -> None:
        found: list[Any] = []

        def take(record: Any) -> None:
            if record.key in (None, self._flow):
                found.append(record)

        end = await read_all(reader, control.partition, start, None, take)
        await control.learn(found)
        before = [(record.offset, command) for record in found if (command := control.read(record)) is not None]
        inbox.begin(start, before, end)
        await control.reached(end)  # what is paused must be known before anything is delivered

    async def _fits(self, reader: AIOKafkaConsumer, control: TopicPartition) -> None:
        self._cluster = await self._clients.cluster()
        fit = Fit(self._topics, control, self._partition)
        await fit.check(reader, self._position or Position(), self._holds, self._cluster)

    def _did(self, step: int, what: str) -> None:
        log.debug("takeover", topic=self._events.topic, partition=self._partition, step=step, done=what)

    async def _read_state(self, reader: AIOKafkaConsumer, start: int, schemas: PublishedSchemas) -> int:
        """From ``start`` to the end; where that was."""
        newest: dict[bytes | None, Any] = {}

        def take(record: Any) -> None:
            newest[record.key] = record

        end = await read_all(reader, self._state, start, None, take)
        await schemas.learn(self._codec, *(record.value for record in newest.values()))
        try:
            for record in newest.values():
                self._fold_state(record)
        except UnknownWriter as error:
            raise WrittenElsewhere(error.reason) from error
        return end

    def _fold_state(self, record: Any) -> None:
        if record.key == POSITION:
            self._position = self._codec.decode(record.value)
        elif record.key == COPIED and record.value is not None:
            if (why := self._codec.decode_mark(record.value).forbids(self._topics.flow)) is not None:
                raise CopiedFlow(why)
        elif record.key is not None and record.key.startswith(HOLD):
            self._hold(record.key.removeprefix(HOLD), record.value)
        elif record.key is not None and record.key.startswith(IDS):
            self._slot(record.key, record.value)

    def _hold(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._holds.pop(key, None)
        else:
            self._holds[key] = self._codec.decode_hold(value)

    def _slot(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._slots.pop(key, None)
        else:
            self._slots[key] = self._codec.decode_ids(value)

    async def _confirm(self, reader: AIOKafkaConsumer) -> tuple[int, int]:
        """Commits where delivery will begin; that offset, and the one that the position named."""
        first = (await reader.beginning_offsets([self._events]))[self._events]
        wanted = self._position.events if self._position else first
        start = max(wanted, first)
        await self._membership.commit({self._partition: start}, self._clients.timing.takeover)
        return start, wanted

    def _allocated(self, start: int) -> Position:
        """The next epoch; the one in force where the outcomes are folded from stays as it is."""
        position = self._position or Position()
        epoch = max(position.epoch, self._above) + 1
        return replace(position, epoch=epoch, events=start, cluster=self._cluster)

    async def _fold(self, reader: AIOKafkaConsumer, position: Position, end: int) -> Memory:
        copies: dict[int, tuple[int, bytes | None]] = {}

        def see(record: Any) -> None:
            copy = Copy(record)
            if copy.gone:
                copies.pop(copy.offset, None)
            else:
                copies[copy.offset] = copy.at, copy.key

        await read_all(reader, self._parked, position.parked, None, see)
        self._ids.restore(self._slots.values())
        memory = Memory(position, Holds(self._holds, position.redriven), self._ids, copies)

        def fold(record: Any) -> None:
            fact = fact_of(record)
            if not fact.plan:
                memory.fold(record.offset, fact)

        await read_all(reader, self._outcomes, position.outcomes, end, fold)
        if memory.epoch > position.epoch:
            raise Overtaken(memory.epoch)
        if memory.stale:
            log.warning("outcomes of a former owner are void", topic=self._outcomes.topic, count=memory.stale)
        return memory
