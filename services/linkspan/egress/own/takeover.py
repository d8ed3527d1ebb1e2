"""Taking a partition over: the numbered steps of ``docs/architecture.md``, in the only order that is safe.

A commit to the group comes before and after the former owner is fenced: a member that was cut off finds out before it
fences the rightful owner, or before it marks an epoch. Whatever fails ends the takeover; it begins again at step 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.egress.own.clients import KafkaClients, stop_consumer
from linkspan.egress.own.membership import Membership
from linkspan.egress.own.store import HOLD, POSITION, StateCodec, StateStore
from linkspan.egress.partition.holds import Hold
from linkspan.egress.partition.memory import Memory
from linkspan.egress.partition.position import Position
from linkspan.egress.record.outcome import OutcomeWriter, Said
from linkspan.egress.record.recorder import Recorder
from linkspan.kernel.errors import LinkspanError
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
    """What a former owner left. ``start``: the first event to fetch; ``end``: the log's end now; ``lost``: events
    between the position and the log's beginning, gone by retention."""

    memory: Memory
    epoch: int
    start: int
    end: int
    lost: int


class Takeover:
    """Of one partition. ``above``: the epoch must be higher than this one."""

    def __init__(
        self,
        clients: KafkaClients,
        topics: FlowTopics,
        partition: int,
        membership: Membership,
        codec: StateCodec,
        above: int = 0,
    ) -> None:
        self._clients, self._membership, self._codec, self._above = clients, membership, codec, above
        self._partition = partition
        self._events = TopicPartition(topics.events, partition)
        self._outcomes = TopicPartition(topics.outcomes, partition)
        self._state = TopicPartition(topics.state, partition)
        self._position: Position | None = None
        self._holds: dict[bytes, Hold] = {}

    async def run(self, store: StateStore, recorder: Recorder, writer: OutcomeWriter) -> Taken:
        """Starts ``store`` and ``recorder``, which are the caller's to discard. Raises CommitRefused, StateLost,
        AppendFailed, Overtaken, KafkaError."""
        reader = self._clients.reader()
        try:
            await reader.start()
            read_to = await self._read_state(reader, 0)
            self._did(1, "state read")
            await self._confirm(reader)
            self._did(2, "member")
            await store.start()
            self._did(3, "former owner fenced")
            await self._read_state(reader, read_to)
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
            self._did(8, "outcomes folded")
            end = (await reader.end_offsets([self._events]))[self._events]
        finally:
            await stop_consumer(reader)
        return Taken(memory, position.epoch, start, end, start - wanted)

    def _did(self, step: int, what: str) -> None:
        log.debug("takeover", topic=self._events.topic, partition=self._partition, step=step, done=what)

    async def _read_state(self, reader: AIOKafkaConsumer, start: int) -> int:
        """From ``start`` to the end; where that was."""

        def fold(record: Any) -> None:
            if record.key == POSITION:
                self._position = self._codec.decode(record.value)
            elif record.key is not None and record.key.startswith(HOLD):
                self._hold(record.key.removeprefix(HOLD), record.value)

        return await _read(reader, self._state, start, None, fold)

    def _hold(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._holds.pop(key, None)
        else:
            self._holds[key] = self._codec.decode_hold(value)

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
        return replace(position, epoch=max(position.epoch, self._above) + 1, events=start)

    async def _fold(self, reader: AIOKafkaConsumer, position: Position, end: int) -> Memory:
        memory = Memory(position, self._holds)

        def fold(record: Any) -> None:
            said = Said.of(record)
            if not said.plan:
                memory.fold(record.offset, said.kind, said.offset, said.epoch, said.held)

        await _read(reader, self._outcomes, position.outcomes, end, fold)
        if memory.epoch > position.epoch:
            raise Overtaken(memory.epoch)
        if memory.stale:
            log.warning("outcomes of a former owner are void", topic=self._outcomes.topic, count=memory.stale)
        return memory


async def _read(reader: AIOKafkaConsumer, partition: TopicPartition, start: int, end: int | None, fold: Any) -> int:
    """Everything from ``start``, or the log's beginning, to ``end``, or its end now; returns that."""
    reader.assign([partition])
    first = (await reader.beginning_offsets([partition]))[partition]
    if end is None:
        end = (await reader.end_offsets([partition]))[partition]
    reader.seek(partition, max(start, first))
    while await reader.position(partition) < end:
        found = await reader.getmany(partition, timeout_ms=1000, max_records=5000)
        for record in found.get(partition, ()):
            if record.offset < end:
                fold(record)
    return end
