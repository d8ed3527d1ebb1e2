"""Works through one partition's part of the replay that the flow has: reads what is planned, offers it, accounts.

No checkpoint: whoever begins reads the frozen list and folds the outcomes since the plan was made, and knows from them
what is done. Whatever Kafka does to this work is tried again by it alone; live delivery does not notice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from linkspan.control.errors import Away
from linkspan.control.replays import Replay
from linkspan.egress.own.context import FlowContext
from linkspan.egress.own.copies import Copies
from linkspan.egress.own.planned import NotAsFrozen, PlannedEvents
from linkspan.egress.own.store import StateLost
from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.lanes import Message
from linkspan.egress.partition.pace import Pace
from linkspan.egress.partition.replay import Part
from linkspan.egress.partition.state import PartitionState
from linkspan.egress.record.outcome import message_of
from linkspan.egress.run import Run
from linkspan.kernel.archive.errors import ArchiveAway, ArchiveDamaged
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.records.epoch import OWNER, Epoch
from linkspan.kernel.records.event import Event, RecordHeaders
from linkspan.kernel.records.listed import Listed
from linkspan.kernel.records.outcome import fact_of, plan_of
from linkspan.kernel.records.plan import CANCELLED, SKIPPED, PartDone, PlanPart, check_of

log = structlog.get_logger()

#: What failed is tried again after so many seconds.
_AGAIN = 2.0
#: Without any news it is looked so often, seconds.
_LOOK = 0.5

Append = Callable[[bytes | None, bytes, RecordHeaders, Any], None]


class Owned(Protocol):
    """The partition's owner."""

    partition: int
    state: PartitionState
    attempts: int

    def may_attempt(self, now: float) -> bool: ...


class Replayer:
    """``run`` it as a task of its owner. ``part``: what is worked on, None before its list is read; ``listens``: live
    outcomes that are acked concern it. ``waits``: what keeps it from sending, empty where nothing does. ``confirm``
    returns where no successor has begun, so that what was acked is not stale; else it raises StateLost."""

    def __init__(
        self, flow: FlowContext, owned: Owned, epoch: int, append: Append, confirm: Callable[[], Awaitable[None]]
    ) -> None:
        self._flow, self.owned, self._epoch, self._append, self._confirm = flow, owned, epoch, append, confirm
        self._some = asyncio.Event()
        self._some.set()
        self._early: list[tuple[int, Record]] | None = None
        self._run: Run | None = None
        self._acked_to = 0
        self.part: Part | None = None
        self.pace = Pace()
        self.waits = ""

    @property
    def listens(self) -> bool:
        return self._early is not None or self.part is not None

    def wake(self) -> None:
        self._some.set()

    async def run(self) -> None:
        """Raises StateLost."""
        self._flow.replays.join(self)
        try:
            while True:
                await self._some.wait()
                self._some.clear()
                replay = self._flow.replays.active
                if replay is not None and self._mine(replay) is not None:
                    await self._try(replay)
        finally:
            self._flow.replays.leave(self)
            self._forget()

    def _mine(self, replay: Replay) -> PlanPart | None:
        """What is left to do here."""
        number = self.owned.partition
        return replay.head.part(number) if replay.active and number not in replay.done else None

    async def _try(self, replay: Replay) -> None:
        try:
            if await self._carried_out(replay):
                return
            await self._settled()  # not where it was cancelled: nobody acks any more
        finally:
            self._forget()
        await asyncio.sleep(_AGAIN)
        self._some.set()

    async def _carried_out(self, replay: Replay) -> bool:
        """False: it is tried again. Raises StateLost: the partition is dropped."""
        told = {"flow": self._flow.name, "partition": self.owned.partition, "plan": replay.plan}
        try:
            await self._carry_out(replay)
        except (KafkaError, OSError, TimeoutError, Away, ArchiveAway) as error:
            log.warning("a replay waits", **told, error=repr(error))
        except StateLost:
            raise
        except (UserMistake, NotAsFrozen, ArchiveDamaged) as error:
            self._flow.replays.abort(replay, f"partition {self.owned.partition}: {error}")
        except Exception as error:  # its own work alone: live delivery goes on
            log.exception("a replay broke", **told)
            self._flow.replays.abort(replay, f"partition {self.owned.partition}: {type(error).__name__}: {error}")
        else:
            return True
        return False

    async def _settled(self) -> None:
        """What is attempted under a part that is given up ends first."""
        part = self.part
        if part is not None and self._run is not None:
            self._run.remove(self)
            part.stopped = True
            while not part.idle:  # noqa: ASYNC110 - rare, and bounded by an attempt
                await asyncio.sleep(0.05)

    def _forget(self) -> None:
        if self._run is not None:
            self._run.remove(self)
        self.part = self._run = self._early = None

    async def _carry_out(self, replay: Replay) -> None:
        flow, mine = self._flow, self._mine(replay)
        assert mine is not None  # noqa: S101 - asked by the caller
        events = self._events()
        try:
            self._early, self._acked_to = [], mine.outcomes
            self._run = run = await flow.replays.begin(replay)
            listed = Listed(replay.options)
            try:
                await events.into(listed, replay.plan, mine)
            except NotAsFrozen:
                if replay.stopped is None:
                    raise
                await self._unreadable(replay, mine)
                return
            part = Part(listed, replay.options, flow.retry, run.offers(self.owned.state), None)
            await self._fold(part, replay, mine, events)
            await self._work(part, run, events)
            await self._done(replay, PartDone(dict(part.listed.counts), self._acked_to))
        finally:
            await events.close()

    def _events(self) -> PlannedEvents:
        topics, number = self._flow.topics, self.owned.partition
        copies = Copies(self._flow.clients, TopicPartition(topics.parked, number))
        return PlannedEvents(
            self._flow.clients,
            TopicPartition(topics.replays, number),
            TopicPartition(topics.events, number),
            copies,
            self._flow.replays.codec,
        )

    async def _fold(self, part: Part, replay: Replay, mine: PlanPart, events: PlannedEvents) -> None:
        """What stands in the log, then what was acked meanwhile; from then on ``heard`` and ``acked`` tell."""
        epoch = Epoch(mine.epoch)

        def take(record: Any) -> None:
            fact = fact_of(record)
            if not epoch.valid(fact.kind, fact.epoch) or fact.kind == OWNER:
                return
            if not fact.plan:
                part.live(fact.kind, fact.offset, fact.key)
                return
            plan, until = plan_of(record)
            if plan == replay.plan:
                part.said(fact.kind, fact.offset, until)
                self._acked_to = record.offset + 1

        end = await events.fold(TopicPartition(self._flow.topics.outcomes, self.owned.partition), mine.outcomes, take)
        part.resume()
        early, self._early, self.part = self._early or [], None, part
        for offset, effect in early:
            if offset >= end:
                part.live(effect.kind, effect.message.offset, effect.message.key)

    async def _work(self, part: Part, run: Run, events: PlannedEvents) -> None:
        """Until each planned record has its disposition."""
        if not part.listed.begun:
            self.record(part.ranged(SKIPPED), None)
        while not part.listed.begun:
            await self._news()
        run.add(self)
        ended = False
        while part.listed.left:
            if run.replay.stopped is not None and part.idle and not ended:
                ended = True
                self.record(part.ranged(CANCELLED), None)
            await self._look(part, events)
            await self._news()
        run.remove(self)

    async def _look(self, part: Part, events: PlannedEvents) -> None:
        wanted = part.wants()
        if not wanted:
            return
        found = await events.find([(planned.offset, planned.code) for planned in wanted])
        for planned, (_, event) in zip(wanted, found, strict=False):
            there = event is not None and check_of((event.message_id or "").encode()) == planned.check
            message = _message(event) if event is not None and there else None
            effect = part.found(planned, message, len(event.value or b"") if event is not None else 0)
            if effect is not None:
                self.record(effect, None)
        self._some.set()
        self._flow.pipeline.wake()

    async def _news(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await self._some.wait()
        self._some.clear()

    async def _unreadable(self, replay: Replay, mine: PlanPart) -> None:
        """Stopped, since its list cannot be read: all of it is cancelled."""
        run = self._run
        if run is not None:
            message = Message(0, None, None, replay=self)
            value, headers = run.writer(-1).write(Record(message, CANCELLED, until=mine.end), None, None, self._epoch)
            before = self._acked_to
            self._append(None, value, headers, (Record(message, CANCELLED, until=mine.end), None))
            while self._acked_to == before:
                await self._news()
        await self._done(replay, PartDone({CANCELLED: mine.records}, self._acked_to))

    async def _done(self, replay: Replay, done: PartDone) -> None:
        """Says so until it is known. An owner that was cut off must not: its successor finds its outcomes stale."""
        await self._confirm()
        number = self.owned.partition
        while number not in replay.done:
            await self._flow.replays.part_done(replay, number, done)
            if number not in replay.done:
                await asyncio.sleep(_AGAIN)

    def record(self, effect: Record, sent_at: int | None) -> None:
        run, part = self._run, self.part
        if run is None or part is None:
            return
        facts: Event | None = effect.message.record
        at = None if effect.until >= 0 else part.listed.at(effect.message.offset)
        writer = run.writer(-1 if at is None else part.listed[at].transform)
        value, headers = writer.write(effect, facts, sent_at, self._epoch)
        self._append(effect.message.key, value, headers, (effect, None))

    def acked(self, effect: Record, outcome_offset: int) -> None:
        self._acked_to = outcome_offset + 1
        if self.part is not None:
            before = self.part.listed.counts.copy() if effect.until >= 0 else None
            self.part.acked(effect)
            self._flow.replays.ended(effect, self.part.listed.counts - before if before is not None else None)
        self._some.set()

    def heard(self, effects: list[Record], first: int) -> None:
        """Live outcomes that are acked, and the replay's, which are not meant."""
        for offset, effect in enumerate(effects, first):
            if effect.message.replay is not None:
                continue
            if self._early is not None:
                self._early.append((offset, effect))
            elif self.part is not None:
                self.part.live(effect.kind, effect.message.offset, effect.message.key)

    def oldest(self) -> float:
        """Age of the partition's oldest unfinished live event, seconds."""
        at = self.owned.state.oldest_accepted()
        return 0.0 if at is None else max(0.0, time.time() - at / 1e6)


def _message(event: Event) -> Message:
    message = message_of(event)
    message.measured = None
    return message
