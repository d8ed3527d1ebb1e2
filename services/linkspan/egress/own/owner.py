"""The owner of one partition: takes over, fetches, records, checkpoints, until it is cancelled."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.egress.own.checkpoint import checkpoint_records
from linkspan.egress.own.context import FlowContext
from linkspan.egress.own.control import Inbox
from linkspan.egress.own.copies import Copies
from linkspan.egress.own.drainer import Drainer
from linkspan.egress.own.fetcher import Fetcher
from linkspan.egress.own.fit import Misfit
from linkspan.egress.own.membership import CommitRefused, Membership
from linkspan.egress.own.parker import Parker
from linkspan.egress.own.replayer import Replayer
from linkspan.egress.own.store import StateLost, StateStore
from linkspan.egress.own.takeover import Overtaken, Taken, Takeover
from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.ids import Ids
from linkspan.egress.partition.memory import Memory
from linkspan.egress.partition.state import PartitionState
from linkspan.egress.record.outcome import message_of
from linkspan.egress.record.recorder import AppendFailed, Recorder
from linkspan.kernel.records.event import Event
from linkspan.kernel.records.fact import DEAD, FINISHING, HELD
from linkspan.kernel.records.position import Position
from linkspan.kernel.resilience.retry import RetryPolicy

log = structlog.get_logger()

#: Before a partition is taken over again, its attempts under way get so long to end, seconds.
_SETTLE = 12.0
_AGAIN = RetryPolicy(first=0.5, cap=5.0)
#: After a refused commit: a cut-off owner must not disturb the rightful one often, seconds.
_REFUSED = 2.0


class PartitionOwner:
    """``run`` it as a task. ``active``: taken over, and neither lost nor stopping. ``checkpointed``: as it last stood
    in ``state``, None before. ``progress`` rises with whatever is fetched, answered or recorded. ``misfit``: why it is
    not delivered, where Kafka was restored."""

    def __init__(self, flow: FlowContext, consumer: AIOKafkaConsumer, membership: Membership, partition: int) -> None:
        self._flow, self._consumer, self._membership, self.partition = flow, consumer, membership, partition
        self._events = TopicPartition(flow.topics.events, partition)
        self.active = False
        self.attempts = 0
        self.progress = 0
        self.state = PartitionState(flow.retry, flow.limits, Memory(), 0)
        self.checkpointed: Position | None = None
        self.misfit: str | None = None
        self._fetcher = Fetcher(consumer, self._events, flow.batch, self._took, self._say_gone)
        self._recorder: Recorder | None = None
        self._store: StateStore | None = None
        self._parker: Parker | None = None
        self._drainer: Drainer | None = None
        self._replayer: Replayer | None = None
        self._epoch = self._above = self._counted = self._failures = 0
        self._stopping = False

    async def run(self) -> None:
        """Takes over again after whatever Kafka does, until its assignment ends: a cancellation when a task fails
        is lost. A failed append is found again by reading back."""
        while not self._membership.ended:
            wait = 0.0
            try:
                await self._own()
            except* CommitRefused as group:
                wait = _REFUSED * random.uniform(0.75, 1.5)  # noqa: S311 - jitter
                log.info("not the owner now", **self._where, reason=str(group.exceptions[0]))
            except* Misfit as group:
                wait, self.misfit = _REFUSED, str(group.exceptions[0])
                self._flow.instruments.misfit(self.partition, self.misfit)
            except* Overtaken as group:
                self._above = max(error.epoch for error in group.exceptions if isinstance(error, Overtaken))
                log.warning("partition dropped", **self._where, error=str(group.exceptions[0]))
            except* (AppendFailed, StateLost, KafkaError, OSError) as group:
                log.warning("partition dropped", **self._where, error=str(group.exceptions[0]))
            except* Exception:
                log.exception("partition dropped", **self._where)
            self._failures += 1
            await self._settled(_SETTLE)
            await asyncio.sleep(max(wait, _AGAIN.delay(self._failures)))

    @property
    def _where(self) -> dict[str, Any]:
        return {"flow": self._flow.name, "partition": self.partition}

    async def _own(self) -> None:
        flow = self._flow
        written = [TopicPartition(topic, self.partition) for topic in (flow.topics.state, flow.topics.parked)]
        store = StateStore(flow.clients, f"{flow.identity}.{self.partition}", written)
        took = flow.instruments.record_seconds
        recorder = Recorder(flow.clients, flow.topics.outcomes, self.partition, self._acked, took)
        inbox = Inbox(flow.name, self.partition, self._commanded)
        flow.control.listen(inbox.hear)
        try:
            taken = await self._take_over(store, recorder, inbox)
            self._fetcher.to = taken.start
            self.state.fetched_to(taken.start)
            self._consumer.seek(self._events, taken.start)  # before any checkpoint: what was fetched earlier is dropped
            parked = TopicPartition(flow.topics.parked, self.partition)
            self._recorder, self._store = recorder, store
            self._parker = parker = Parker(store, parked, taken.epoch, self._append)
            self._drainer = drainer = self._drains(parked, inbox)
            sure = partial(self.checkpoint, always=True)
            self._replayer = replayer = Replayer(flow, self, taken.epoch, recorder.append, sure)
            self._follow_up()
            self._say_gone(taken.wanted, taken.start)
            async with asyncio.TaskGroup() as all_of_it:
                all_of_it.create_task(recorder.run())
                all_of_it.create_task(parker.run())
                all_of_it.create_task(drainer.run())
                all_of_it.create_task(replayer.run())
                all_of_it.create_task(self._checkpoints())
                all_of_it.create_task(self._fetch())
        finally:
            self.stop_attempts()
            self._count(0)
            flow.control.unlisten(inbox.hear)
            flow.instruments.left(self.partition)
            self._recorder = self._store = self._parker = self._drainer = self._replayer = self.checkpointed = None
            recorder.discard()
            store.discard()

    def _drains(self, parked: TopicPartition, inbox: Inbox) -> Drainer:
        return Drainer(
            self.state,
            Copies(self._flow.clients, parked),
            inbox,
            self.record,
            self._flow.pipeline.wake,
            lambda: self._consumer.position(self._events),
        )

    async def _take_over(self, store: StateStore, recorder: Recorder, inbox: Inbox) -> Taken:
        flow = self._flow
        ids = Ids(flow.duplicates.count, int(flow.duplicates.within * 1000))
        takeover = Takeover(flow.clients, flow.topics, self.partition, self._membership, flow.states, ids, self._above)
        taken = await takeover.run(store, recorder, flow.writer, flow.control, inbox)
        self._epoch, self.misfit = taken.epoch, None
        marked_below = taken.end if taken.epoch > 1 else 0  # no former owner, nothing delivered
        self.state = PartitionState(flow.retry, flow.limits, taken.memory, marked_below, hold=flow.hold)
        waiting = taken.end - taken.start
        log.info("partition taken over", **self._where, epoch=taken.epoch, position=taken.start, waiting=waiting)
        return taken

    async def _fetch(self) -> None:
        self._consumer.resume(self._events)
        self.active = not self._stopping
        self._failures = 0
        self._flow.pipeline.add(self)
        await self._fetcher.run(self.state)

    @property
    def behind(self) -> int:
        """Events that are not fetched yet, as far as the last fetch told."""
        return self._fetcher.behind if self.active else 0

    def may_attempt(self, now: float) -> bool:
        return self.active and self._membership.may_attempt(now)

    def _took(self, records: Sequence[Any]) -> None:
        self.progress += 1
        self.state.fetched([message_of(Event.of(record)) for record in records])
        self.state.fetched_to(self._fetcher.to)
        self._follow_up()
        self._count(self.state.unfinished)
        self._flow.pipeline.wake()

    @property
    def waiting_command(self) -> int | None:
        """The first one that is not carried out yet."""
        return self._drainer.waiting_command if self._drainer is not None else None

    async def lag(self) -> int:
        """Events that are not fetched yet. Raises KafkaError."""
        return await self._fetcher.lag()

    def _say_gone(self, wanted: int, first: int) -> None:
        """The log begins at ``first``, and delivery was to go on at ``wanted``."""
        if wanted < first:
            log.error("events were deleted by retention before delivery", **self._where, start=wanted, end=first)
            self._flow.instruments.gone(first - wanted)
            self.record(Record.gone(wanted, first), None)

    def _follow_up(self) -> None:
        for effect in self.state.effects():
            self.record(effect, None)

    def _commanded(self) -> None:
        if self._drainer is not None:
            self._drainer.wake()

    def record(self, effect: Record, sent_at: int | None) -> None:
        """Of a state that is no longer ours: lost, as its read-back will find what was recorded."""
        if self._parker is None:
            return
        self._flow.instruments.decided(effect, self.partition)
        if effect.kind in (DEAD, HELD):
            self._parker.add(effect, sent_at)
        else:
            self._append(effect, sent_at)

    def _append(self, effect: Record, sent_at: int | None, parked: int | None = None) -> None:
        if self._recorder is None:
            return
        facts: Event | None = effect.message.record
        value, headers = self._flow.writer.write(effect, facts, sent_at, self._epoch, parked)
        self._recorder.append(effect.message.key, value, headers, (effect, parked))

    def _acked(self, appended: list[tuple[Record, int | None]], first: int) -> None:
        instruments, at = self._flow.instruments, time.time_ns() // 1_000_000
        for outcome_offset, (effect, parked) in enumerate(appended, first):
            if effect.message.replay is not None:
                self._replayed(effect, outcome_offset)
                continue
            self.state.outcome_acked(effect, outcome_offset, -1 if parked is None else parked, at)
            if effect.message.measured is not None and effect.kind in FINISHING:
                effect.message.measured.stage("record")
                effect.message.measured.end("message")
        self.progress += 1
        self._follow_up()
        if self._drainer is not None and (self.state.releases.busy or self._drainer.waits):
            self._drainer.wake()
        if self._replayer is not None and self._replayer.listens:
            self._replayer.heard([effect for effect, _ in appended], first)
        instruments.recorded([effect for effect, _ in appended if effect.message.replay is None], self.partition)
        self._count(self.state.unfinished)
        self._fetcher.room.set()
        self._flow.pipeline.wake()

    def _replayed(self, effect: Record, outcome_offset: int) -> None:
        """It says nothing of a message's own status."""
        self.state.memory.passed(outcome_offset)
        if self._replayer is not None:
            self._replayer.acked(effect, outcome_offset)

    def _count(self, unfinished: int) -> None:
        self._flow.instruments.in_flight.inc(unfinished - self._counted)
        self._counted = unfinished

    def stop_attempts(self) -> None:
        self.active = False
        self._flow.pipeline.remove(self)

    async def drain(self, limit: float) -> None:
        """No new attempt; those under way may end, and their outcomes be acked, within ``limit`` seconds."""
        self._stopping = True
        self.stop_attempts()
        await self._settled(limit, recorded=True)

    async def _settled(self, limit: float, *, recorded: bool = False) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while self.attempts or (recorded and self._records()):  # noqa: ASYNC110 - several counters
                    await asyncio.sleep(0.01)

    def _records(self) -> bool:
        """Something waits for its copy or its ack."""
        parking = self._parker is not None and self._parker.busy
        return parking or (self._recorder is not None and self._recorder.busy)

    async def _checkpoints(self) -> None:
        await self.checkpoint()
        while True:
            await asyncio.sleep(self._flow.clients.timing.checkpoint)
            await self.checkpoint()

    async def checkpoint(self, *, always: bool = False) -> None:
        """Writes where the partition is, if that changed; raises StateLost. What is written proves that no successor
        has begun an epoch, as it fences this producer before."""
        store = self._store
        if store is None:
            return
        self._tell_standing()
        if self._drainer is not None:
            self._drainer.settle()
        position = self.state.position(await self._consumer.position(self._events))
        if always or store.doubtful or position != self.checkpointed:
            await store.write(checkpoint_records(self._flow, self.partition, position, self.state.memory))
            self.checkpointed = position

    def _tell_standing(self) -> None:
        window = self.state.memory.ids.held(time.time_ns() // 1_000_000)
        oldest, held = self.state.oldest_accepted(), len(self.state.memory.holds)
        self._flow.instruments.standing(self.partition, held, window, oldest, self.behind)
