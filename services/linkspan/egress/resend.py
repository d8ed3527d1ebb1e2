"""Sends what the parts of a replay offer, with what live delivery leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec
import structlog

from linkspan.egress.deliver.adapter import Delivery
from linkspan.egress.instruments import Instruments
from linkspan.egress.partition.answer import Withheld
from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.lanes import Message
from linkspan.egress.partition.pace import Pace
from linkspan.egress.partition.replay import Part
from linkspan.egress.prepare import Preparation
from linkspan.egress.run import Run, Sender
from linkspan.kernel.crypto.withheld import told
from linkspan.kernel.errors import DeliveryError, Poison
from linkspan.kernel.records.event import Event
from linkspan.kernel.resilience.breaker import Ticket
from linkspan.kernel.telemetry.traces import Traced

log = structlog.get_logger()

#: Messages that are sent in one turn of the event loop, all parts together; then it looks after live ones.
BURST = 16


class Resend:
    """Of one flow; ``run``: the one that is worked on. The pipeline calls ``pump`` when live messages had their turn;
    ``wake``: calls for that. ``failed_one``: is told of each failure."""

    def __init__(self, instruments: Instruments, wake: Callable[[], None]) -> None:
        self.run: Run | None = None
        self.wake, self.failed_one = wake, wake
        self._instruments = instruments
        self._whole = Pace()
        self._under_way = self._slow = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def pump(self, left: int, now: float) -> None:
        """``left``: how many more deliveries the flow's own adapter may take now."""
        run = self.run
        if run is None or not run.parts:
            return
        target = run.target
        free = min(left if target.own else target.capacity(now), target.most - self._under_way)
        turn = min(free, BURST)
        at = time.time()
        run.parts.rotate(-1)
        for one in tuple(run.parts):
            one.waits = run.waits(one, now)
            if turn > 0 and not one.waits and one.owned.may_attempt(now):
                turn -= self._round(run, one, turn, now, at)
        if turn <= 0 < free - BURST:
            self.wake()

    def _round(self, run: Run, one: Sender, wanted: int, now: float, at: float) -> int:
        """How many were sent."""
        target = run.target
        wanted = one.pace.budget(now, wanted, run.rate(one.owned.partition, at))
        wanted = self._whole.budget(now, wanted, target.rate or 0.0)
        if wanted <= 0 or one.part is None or not one.part.due(now):
            return 0
        budget = target.limits.budget(now, target.breaker.budget(now, wanted), target.adapter.together)
        taken = 0
        while taken < budget and (found := one.part.next(now)) is not None:
            if isinstance(found, Record):
                one.record(found, None)
                continue
            sent = self._take(run, one, found, now)
            if sent is None:
                break
            taken += sent
        return taken

    def _take(self, run: Run, one: Sender, message: Message, now: float) -> int | None:
        """How many were sent; None: no transform may start now."""
        part = one.part
        assert part is not None  # noqa: S101 - it gave the message
        if message.doubt is not None and message.doubt.due:
            message.doubt.due = False
            self._settle(one, part.charge(message, message.doubt.error, now), message.doubt.sent_at)
            return 0
        if message.prepared is None:
            preparation = run.preparation(part.listed[message.replay.at].transform)
            if message.tries == 0:
                self._begin_trace(run, message)
            try:
                message.prepared = preparation.now(message.record)
            except Exception as error:  # noqa: BLE001 - whatever a message does to us is about that message
                self._settle(one, part.answered(message, self._failure(message, error), now), None)
                return 0
            if message.prepared is None:
                return self._prepare_later(one, message, preparation)
        self._submit(run, one, message)
        return 1

    def _begin_trace(self, run: Run, message: Message) -> None:
        """A trace of its own, that names the one of the original and the replay's."""
        event: Event = message.record
        options = run.replay.options
        traceparent = self._instruments.spans.replayed(event, run.replay.plan, options.traceparent)
        message.record = msgspec.structs.replace(event, traceparent=traceparent)

    def _submit(self, run: Run, one: Sender, message: Message) -> None:
        target, prepared = run.target, message.prepared
        message.tries += 1
        ticket = target.breaker.submitted(message.doubt)
        span = self._instruments.deliver_span(one.owned.partition, message, prepared, target.name)
        attempt = _Resent(self, run, one, message, ticket, span)
        target.limits.begin(target.adapter.together)
        one.pace.spend()
        self._whole.spend()
        self._under_way += 1
        one.owned.attempts += 1
        delivery = Preparation.compose(message, prepared, span, attempt.may_go, run.replay.plan)
        target.adapter.submit(delivery, attempt.answered)

    def answered(self, attempt: _Resent, error: DeliveryError | None) -> None:
        now = asyncio.get_running_loop().time()
        one, message, target = attempt.one, attempt.message, attempt.run.target
        if error is not None:
            error = told(error, message.prepared.secrets)
        one.owned.attempts -= 1
        self._under_way -= 1
        target.limits.end(target.adapter.together)
        self._instruments.attempted(message, attempt.traced, error, one.owned.partition, attempt.sent_at)
        if isinstance(error, Withheld):
            message.doubt = target.breaker.unsent(attempt.ticket)
            attempt.part.put_back(message)
        else:
            target.limits.answered(error)
            message.doubt = target.breaker.answered(attempt.ticket, error, now, attempt.sent_at)
            self._settle(one, attempt.part.answered(message, error, now, spared=True), attempt.sent_at)
        if error is not None:
            self.failed_one()
        self.wake()

    @staticmethod
    def _settle(one: Sender, effect: Record | None, sent_at: int | None) -> None:
        if effect is not None:
            one.record(effect, sent_at)
        one.wake()

    def _failure(self, message: Message, error: Exception) -> DeliveryError:
        if isinstance(error, DeliveryError):
            return error
        log.error("a message broke its preparation", flow=self._instruments.flow, offset=message.offset, exc_info=error)
        return Poison(f"it cannot be prepared: {type(error).__name__}: {error}")

    def _prepare_later(self, one: Sender, message: Message, preparation: Preparation) -> int | None:
        """A quarter of what may wait at a time; meanwhile its key is free."""
        part = one.part
        assert part is not None  # noqa: S101 - it gave the message
        if self._slow >= max(1, preparation.at_once // 4):
            part.put_back(message)
            return None
        part.shelve(message)
        self._slow += 1
        task = asyncio.create_task(self._prepare(one, part, message, preparation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return 0

    async def _prepare(self, one: Sender, part: Part, message: Message, preparation: Preparation) -> None:
        """``part``: that gave the message; ``one`` may have given it up."""
        loop = asyncio.get_running_loop()
        try:
            message.prepared = await preparation.later(message.record)
            part.put_back(message)
            one.wake()
        except Exception as error:  # noqa: BLE001 - whatever a message does to us is about that message
            self._settle(one, part.answered(message, self._failure(message, error), loop.time()), None)
        finally:
            self._slow -= 1
            self.wake()

    def wake_at(self, now: float) -> float | None:
        """The earliest time that anything waits for; what somebody else decides is looked at now and then anyway."""
        run = self.run
        if run is None or not run.goes:
            return None
        times: list[float | None] = [self._whole.wake_at()]
        if not run.target.own:
            times.append(run.target.breaker.wake_at())
        for one in run.parts:
            if not one.waits and one.part is not None:
                times += (one.pace.wake_at(), one.part.wake_at())
        return min((at for at in times if at is not None and at > now), default=None)

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()


class _Resent:
    """One attempt under way."""

    __slots__ = ("message", "one", "part", "resend", "run", "sent_at", "ticket", "traced")

    def __init__(self, resend: Resend, run: Run, one: Sender, message: Message, ticket: Ticket, traced: Traced) -> None:
        assert one.part is not None  # noqa: S101 - it gave the message
        self.resend, self.run, self.one, self.message = resend, run, one, message
        self.part, self.ticket, self.traced = one.part, ticket, traced
        self.sent_at = time.time_ns() // 1000

    def may_go(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self.run.goes and not self.run.target.gate.closed and self.one.owned.may_attempt(now)

    def answered(self, _delivery: Delivery, error: DeliveryError | None) -> None:
        self.resend.answered(self, error)
