"""The path of a message through egress: consume -> decode -> transform -> deliver -> record.

Owners put partitions in (``own``), which fetch; ``Pipeline`` decodes and transforms (``prepare``), delivers
(``deliver``) and hands each answer to its partition's state, whose effects the owner records (``record``). All of it
runs by callbacks in one event loop: there is no task per message but for a transform that has to wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Protocol

import structlog

from linkspan.control.gate import Gate
from linkspan.egress.deliver.adapter import Adapter, Delivery
from linkspan.egress.instruments import Instruments
from linkspan.egress.partition.answer import Withheld
from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.lanes import Message
from linkspan.egress.partition.state import PartitionState
from linkspan.egress.prepare import Preparation, Prepared
from linkspan.egress.resend import Resend
from linkspan.kernel.crypto.withheld import told
from linkspan.kernel.errors import DeliveryError, Expired, Poison
from linkspan.kernel.resilience.breaker import Breaker, Ticket
from linkspan.kernel.resilience.breaker_told import BreakerTold
from linkspan.kernel.resilience.limits import Limits
from linkspan.kernel.telemetry.traces import Traced

log = structlog.get_logger()

#: Messages a pump takes at most before the event loop gets its turn.
_BURST = 256


class Owned(Protocol):
    """A partition as the pipeline sees it. ``may_attempt``: it is not lost or stopping, and its lease holds at
    ``now`` (the event loop's time); else nothing new is attempted."""

    partition: int
    state: PartitionState
    attempts: int

    def may_attempt(self, now: float) -> bool: ...

    def record(self, effect: Record, sent_at: int | None) -> None: ...


class Pipeline:
    """All partitions of one flow that this process owns, and their destination. ``delivered`` and ``failed`` count
    attempts; while ``gate`` is closed none begins. ``resend``: of replays, which come after live messages."""

    def __init__(
        self,
        preparation: Preparation,
        adapter: Adapter,
        breaker: Breaker,
        limits: Limits,
        instruments: Instruments,
        gate: Gate,
    ) -> None:
        self.preparation, self.adapter, self.breaker, self.gate = preparation, adapter, breaker, gate
        self._limits, self._instruments = limits, instruments
        self._told = BreakerTold(breaker, instruments.destination, instruments.flow)
        self.resend: Resend | None = None
        self._owned: deque[Owned] = deque()
        self._slow = self.delivered = self.failed = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0  # uvloop's handle of less than a millisecond ahead does not say
        adapter.wake = self.wake
        limits.listen(self.wake)
        gate.listen(self.wake)

    def add(self, owned: Owned) -> None:
        self._owned.append(owned)
        self.wake()

    def remove(self, owned: Owned) -> None:
        if owned in self._owned:
            self._owned.remove(owned)

    def wake(self) -> None:
        """Something changed: see, once in this turn of the event loop, what can go."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)

    def waits(self) -> bool:
        """For somebody who paused it, for the destination, or for its rate."""
        return (
            self.gate.closed or self.breaker.budget(asyncio.get_running_loop().time(), 1) < 1 or self._limits.holds_back
        )

    def ask_now(self) -> None:
        """The destination is asked again now, and not when its breaker would, or its next connection is due."""
        self.breaker.ask_now(asyncio.get_running_loop().time())
        self.adapter.ask_now()
        for owned in self._owned:
            owned.state.hurry()
        self.wake()

    def _pump(self) -> None:
        self._scheduled = False
        now = asyncio.get_running_loop().time()
        self.breaker.connection(self.adapter.away(), now)
        left = 0 if self.gate.closed else min(self.adapter.capacity(), _BURST)
        while left > 0 and (sent := self._round(left, now)):
            left -= sent
            if left <= 0 and self.adapter.capacity() > 0:
                self.wake()
        if self.resend is not None:
            self.resend.pump(left, now)
        self._told.look()
        self._set_timer(now)

    def _round(self, left: int, now: float) -> int:
        """One share for each partition; how many messages were taken."""
        taken = 0
        share = max(1, left // max(1, len(self._owned)))
        for owned in tuple(self._owned):
            if not owned.may_attempt(now):
                continue
            budget = self._limits.budget(now, self.breaker.budget(now, min(share, left - taken)), self.adapter.together)
            for message in owned.state.next_deliveries(budget, now) if budget > 0 else ():
                taken += 1
                if not self._take(owned, message, now):
                    return 0
        self._owned.rotate(-1)
        return taken

    def _take(self, owned: Owned, message: Message, now: float) -> bool:
        """False where the round must end: no transform may start now."""
        if message.measured is not None:
            message.measured.stage("wait")
        if message.doubt is not None and message.doubt.due:
            return self._charge(owned, message)
        judged = owned.state.judged(message, time.time_ns() // 1_000_000)
        if judged is not None:
            owned.record(judged, None)
            return True
        if message.prepared is None:
            try:
                message.prepared = self.preparation.now(message.record, owned.partition)
            except Exception as error:  # noqa: BLE001 - whatever a message does to us is about that message
                self._settle(owned, message, self._failure(message, error), now)
                return True
            if message.prepared is None:
                return self._prepare_later(owned, message)
            if message.measured is not None:
                message.measured.stage("prepare")
        prepared: Prepared = message.prepared
        if prepared.expires_at is not None and not message.released and prepared.expires_at <= time.time():
            self._settle(owned, message, Expired(f"its ttl of {prepared.ttl} s passed before delivery"), now)
        else:
            self._submit(owned, message, prepared)
        return True

    def _submit(self, owned: Owned, message: Message, prepared: Prepared) -> None:
        message.tries += 1
        ticket = self.breaker.submitted(message.doubt)
        span = self._instruments.deliver_span(owned.partition, message, prepared)
        attempt = _Attempt(self, owned, message, ticket, span)
        self._limits.begin(self.adapter.together)
        owned.attempts += 1
        delivery = self.preparation.compose(message, prepared, attempt.traced, attempt.may_go)
        self.adapter.submit(delivery, attempt.answered)

    def answered(self, attempt: _Attempt, error: DeliveryError | None) -> None:
        now = asyncio.get_running_loop().time()
        attempt.owned.attempts -= 1
        self._limits.end(self.adapter.together)
        self.delivered += error is None
        self.failed += error is not None
        message = attempt.message
        if error is not None:
            error = told(error, message.prepared.secrets)
        if message.measured is not None:
            message.measured.stage("attempt")
        self._instruments.attempted(message, attempt.traced, error, attempt.owned.partition, attempt.sent_at)
        if isinstance(error, Withheld):
            message.doubt = self.breaker.unsent(attempt.ticket)
            attempt.owned.state.put_back(message)
        else:
            self._limits.answered(error)
            message.doubt = self.breaker.answered(attempt.ticket, error, now, attempt.sent_at)
            self._settle(attempt.owned, message, error, now, attempt.sent_at, spared=True)
        if self.breaker.holds_back or attempt.owned.state.ready():
            self.wake()

    def _charge(self, owned: Owned, message: Message) -> bool:
        """Its last failure: others were taken before and after it."""
        message.doubt.due = False
        effect = owned.state.charge(message, message.doubt.error)
        if effect is not None:
            owned.record(effect, message.doubt.sent_at)
        return True

    def _settle(
        self,
        owned: Owned,
        message: Message,
        error: DeliveryError | None,
        now: float,
        sent_at: int | None = None,
        *,
        spared: bool = False,
    ) -> None:
        effect = owned.state.answered(message, error, now, spared=spared)
        if effect is not None:
            owned.record(effect, sent_at)
        else:
            self._set_timer(now)

    def _failure(self, message: Message, error: Exception) -> DeliveryError:
        if isinstance(error, DeliveryError):
            return error
        log.error("a message broke its preparation", flow=self._instruments.flow, offset=message.offset, exc_info=error)
        return Poison(f"it cannot be prepared: {type(error).__name__}: {error}")

    def _prepare_later(self, owned: Owned, message: Message) -> bool:
        if self._slow >= self.preparation.at_once:
            owned.state.put_back(message)
            return False
        self._slow += 1
        task = asyncio.create_task(self._prepare(owned, message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _prepare(self, owned: Owned, message: Message) -> None:
        loop = asyncio.get_running_loop()
        try:
            message.prepared = await self.preparation.later(message.record, owned.partition)
            if message.measured is not None:
                message.measured.stage("prepare")
            owned.state.put_back(message)
        except Exception as error:  # noqa: BLE001 - whatever a message does to us is about that message
            self._settle(owned, message, self._failure(message, error), loop.time())
        finally:
            self._slow -= 1
            self.wake()

    def _set_timer(self, now: float) -> None:
        """Wakes at the earliest time that anything waits for."""
        times: list[float | None] = [owned.state.wake_at() for owned in self._owned]
        times += (self.breaker.wake_at(),)
        if self.resend is not None:
            times.append(self.resend.wake_at(now))
        at = min((at for at in times if at is not None and at > now), default=None)
        if self._timer is not None:
            if at is not None and now < self._wakes_at <= at:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(at, self._timed) if at is not None else None
        self._wakes_at = at or 0.0

    def _timed(self) -> None:
        self._timer = None
        self.wake()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await self.adapter.close()


class _Attempt:
    """One attempt under way."""

    __slots__ = ("message", "owned", "pipeline", "sent_at", "ticket", "traced")

    def __init__(self, pipeline: Pipeline, owned: Owned, message: Message, ticket: Ticket, traced: Traced) -> None:
        self.pipeline, self.owned, self.message, self.ticket, self.traced = pipeline, owned, message, ticket, traced
        self.sent_at = time.time_ns() // 1000

    def may_go(self) -> bool:
        return not self.pipeline.gate.closed and self.owned.may_attempt(asyncio.get_running_loop().time())

    def answered(self, _delivery: Delivery, error: DeliveryError | None) -> None:
        self.pipeline.answered(self, error)
