"""What the control topic says of replays. Pure: a verdict follows from what came before it alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from linkspan.control.verdict import Verdict
from linkspan.kernel.commands import (
    PLAN_FROZEN,
    REPLAY_ABORT,
    REPLAY_CANCEL,
    REPLAY_CONFIRM,
    REPLAY_PART_DONE,
    REPLAY_PAUSE,
    REPLAY_RATE,
    REPLAY_RESUME,
    REPLAY_START,
    Command,
)
from linkspan.kernel.records.plan import DISPOSITIONS, PartDone, PlanHead, ReplayOptions


class Phase(StrEnum):
    """``ENDING``: cancelled or aborted, and some owner has not said yet that its part is done."""

    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    ENDING = "ending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    ABORTED = "aborted"


#: An owner works on its part of the plan.
ACTIVE = frozenset({Phase.RUNNING, Phase.PAUSED, Phase.ENDING})


@dataclass(frozen=True, slots=True)
class Said:
    """By whom, why, and when (microseconds since 1970)."""

    by: str
    reason: str
    at: int

    @classmethod
    def of(cls, command: Command) -> Said:
        return cls(command.by, command.reason, command.at)


@dataclass(slots=True)
class Replay:
    """A frozen plan and what was made of it. ``started`` None: never. ``stopped``: it was cancelled, or aborted where
    ``aborted``. ``rate``: messages a second, 0: no limit of its own. ``confirmed``: its canary, where it has one.
    ``resumed_at``: since when it goes on (its start, the last resume or the confirmation), microseconds since 1970.
    """

    plan: str
    flow: str
    head: PlanHead
    frozen: Said
    options: ReplayOptions = field(default_factory=ReplayOptions)
    started: Said | None = None
    stopped: Said | None = None
    ended_at: int | None = None
    aborted: bool = False
    paused: bool = False
    confirmed: bool = False
    rate: float = 0.0
    resumed_at: int = 0
    done: dict[int, PartDone] = field(default_factory=dict)

    @property
    def phase(self) -> Phase:
        if self.started is None:
            return Phase.PLANNED
        if self.open:
            if self.stopped is not None:
                return Phase.ENDING
            return Phase.PAUSED if self.paused else Phase.RUNNING
        if self.stopped is None:
            return Phase.COMPLETED
        return Phase.ABORTED if self.aborted else Phase.CANCELLED

    @property
    def active(self) -> bool:
        return self.phase in ACTIVE

    @property
    def over_at(self) -> int | None:
        """When it ended, or was frozen where nobody started it, microseconds since 1970; None: it is under way."""
        return self.frozen.at if self.started is None else self.ended_at

    @property
    def open(self) -> frozenset[int]:
        """Partitions whose parts are not done."""
        return frozenset(part.partition for part in self.head.partitions) - self.done.keys()

    @property
    def dispositions(self) -> Counter[str]:
        """Of the parts that are done."""
        return sum((Counter(done.dispositions) for done in self.done.values()), Counter())

    def share(self, partition: int) -> float:
        """Of the rate that is this partition's now: as much as it is to send, of all parts that are not done; 0 of one
        that is."""
        left = self.open
        weights = {one.partition: one.to_send(self.options) for one in self.head.partitions if one.partition in left}
        whole = sum(weights.values())
        return weights.get(partition, 0) / whole if whole else 0.0


class Replays:
    """All plans, by id; ``folds`` has what becomes of each kind of command."""

    def __init__(self) -> None:
        self._plans: dict[str, Replay] = {}
        self.folds: dict[str, Callable[[Command], Verdict]] = {
            PLAN_FROZEN: self._frozen,
            REPLAY_START: self._start,
            REPLAY_PAUSE: lambda one: self._running(one, self._pause),
            REPLAY_RESUME: lambda one: self._running(one, self._resume),
            REPLAY_RATE: lambda one: self._running(one, self._rate),
            REPLAY_CONFIRM: lambda one: self._running(one, self._confirm),
            REPLAY_CANCEL: lambda one: self._running(one, self._cancel),
            REPLAY_ABORT: lambda one: self._running(one, self._abort),
            REPLAY_PART_DONE: self._part_done,
        }

    def __iter__(self) -> Iterator[Replay]:
        """In the order in which they were frozen."""
        return iter(tuple(self._plans.values()))

    def get(self, plan: str) -> Replay | None:
        return self._plans.get(plan)

    def active(self, flow: str) -> Replay | None:
        """The one that owners of the flow work on: there is one at a time."""
        return next((one for one in self._plans.values() if one.flow == flow and one.active), None)

    def _frozen(self, command: Command) -> Verdict:
        if not isinstance(command.body, PlanHead) or not command.plan:
            return Verdict("has no list", False)
        if command.plan in self._plans:
            return Verdict("was frozen already", False)
        self._plans[command.plan] = Replay(command.plan, command.flow, command.body, Said.of(command))
        return Verdict(f"frozen: {command.body.records} records, sha256 {command.body.sha256.hex()[:16]}", True)

    def _start(self, command: Command) -> Verdict:
        replay = self._plans.get(command.plan)
        if replay is None:
            return Verdict(f"there is no plan {command.plan}", False)
        if replay.started is not None:
            return Verdict(f"was started already by {replay.started.by}", False)
        other = self.active(replay.flow)
        if other is not None:
            return Verdict(f"the replay {other.plan} of this flow has not ended", False)
        if not isinstance(command.body, ReplayOptions):
            return Verdict("has no options", False)
        replay.options = command.body
        replay.started, replay.rate, replay.resumed_at = Said.of(command), replay.options.rate, command.at
        replay.confirmed = not replay.options.canary
        if not replay.head.partitions:
            replay.ended_at = command.at
        return Verdict(f"started: {replay.head.to_send(replay.options)} to send", True)

    def _running(self, command: Command, change: Callable[[Replay, Command], Verdict]) -> Verdict:
        replay = self._plans.get(command.plan)
        if replay is None:
            return Verdict(f"there is no plan {command.plan}", False)
        if replay.started is None:
            return Verdict("was never started", False)
        if replay.phase not in (Phase.RUNNING, Phase.PAUSED):
            return Verdict(f"is {replay.phase} already", False)
        return change(replay, command)

    @staticmethod
    def _pause(replay: Replay, _command: Command) -> Verdict:
        if replay.paused:
            return Verdict("was paused already", False)
        replay.paused = True
        return Verdict("paused", True)

    @staticmethod
    def _resume(replay: Replay, command: Command) -> Verdict:
        if not replay.paused:
            return Verdict("was not paused", False)
        replay.paused, replay.resumed_at = False, command.at
        return Verdict("resumed", True)

    @staticmethod
    def _rate(replay: Replay, command: Command) -> Verdict:
        rate = _rate_in(command.value)
        if rate is None:
            return Verdict(f"{command.value!r} is no rate", False)
        if rate == replay.rate:
            return Verdict("was so already", False)
        replay.rate = rate
        return Verdict(f"at most {rate:g} a second" if rate else "no limit of its own", True)

    @staticmethod
    def _confirm(replay: Replay, command: Command) -> Verdict:
        if replay.confirmed:
            return Verdict("there is nothing to confirm", False)
        replay.confirmed, replay.resumed_at = True, command.at
        return Verdict("confirmed: sends the rest", True)

    @staticmethod
    def _cancel(replay: Replay, command: Command) -> Verdict:
        replay.stopped = Said.of(command)
        return Verdict("cancelled: what is under way ends", True)

    @staticmethod
    def _abort(replay: Replay, command: Command) -> Verdict:
        replay.stopped, replay.aborted = Said.of(command), True
        return Verdict("aborted: what is under way ends", True)

    def _part_done(self, command: Command) -> Verdict:
        replay, done = self._plans.get(command.plan), command.body
        if replay is None or replay.started is None or not isinstance(done, PartDone):
            return Verdict("there is no such part under way", False)
        part = replay.head.part(command.partition)
        if part is None or command.partition in replay.done:
            return Verdict("was done already" if part else "there is no such part", False)
        if sum(done.dispositions.values()) != part.records or not _is_account(done):
            return Verdict(f"the account does not add up to {part.records}", False)
        replay.done[command.partition] = done
        if not replay.active:
            replay.ended_at = command.at
        return Verdict(f"partition {command.partition} is done: {_said(done)}", True)


def _is_account(done: PartDone) -> bool:
    return all(kind in DISPOSITIONS and count >= 0 for kind, count in done.dispositions.items())


def _rate_in(text: str) -> float | None:
    try:
        rate = float(text)
    except ValueError:
        return None
    return rate if math.isfinite(rate) and rate >= 0 else None


def _said(done: PartDone) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(done.dispositions.items()) if count) or "nothing"
