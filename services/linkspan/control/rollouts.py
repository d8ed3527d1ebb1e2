"""What the control topic says of rollouts. Pure: a verdict follows from what came before it alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from linkspan.control.replays import Said
from linkspan.control.verdict import Verdict
from linkspan.kernel.commands import ROLLOUT_FINISH, ROLLOUT_SHARE, ROLLOUT_START, ROLLOUT_STOP, Command
from linkspan.kernel.records.rollout import RolloutPlan

WHOLE = 100


@dataclass(slots=True)
class Rollout:
    """``id``: of the command that began it. ``share``: percent of the partitions that the new version delivers, since
    ``since`` (microseconds since 1970); 0 also where it was ``stopped``."""

    id: str
    plan: RolloutPlan
    started: Said
    share: int
    since: int
    stopped: Said | None = None

    @property
    def state(self) -> str:
        """ "waiting" for replicas of the new version, "running", "stopped"."""
        if self.stopped is not None:
            return "stopped"
        return "running" if self.share else "waiting"


class Rollouts:
    """``current``: the one in force, None where each version is as good as any other. ``serial`` rises with whatever
    changes it, and is the same in all processes that have read as far."""

    def __init__(self) -> None:
        self.current: Rollout | None = None
        self.serial = 0
        self.folds: dict[str, Callable[[Command], Verdict]] = {
            ROLLOUT_START: self._start,
            ROLLOUT_SHARE: self._share,
            ROLLOUT_STOP: self._stop,
            ROLLOUT_FINISH: self._finish,
        }

    def _changed(self, result: str) -> Verdict:
        self.serial += 1
        return Verdict(result, True)

    def _start(self, command: Command) -> Verdict:
        plan, current = command.body, self.current
        if not isinstance(plan, RolloutPlan) or not sound(plan):
            return Verdict("is no rollout", False)
        if current is not None and current.stopped is None:
            return Verdict(f"a rollout to {current.plan.to} is under way, begun by {current.started.by}", False)
        self.current = Rollout(command.id, plan, Said.of(command), 0, command.at)
        return self._changed(f"{plan.to} delivers nothing yet")

    def _named(self, command: Command) -> Rollout | None:
        return self.current if self.current is not None and self.current.id == command.plan else None

    def _share(self, command: Command) -> Verdict:
        current = self._named(command)
        if current is None:
            return Verdict("there is no such rollout", False)
        if current.stopped is not None:
            return Verdict(f"was stopped by {current.stopped.by}", False)
        share = int(command.value) if command.value.isascii() and command.value.isdigit() else -1
        if not current.share < share <= WHOLE:
            return Verdict(f"is at {current.share} % already", False)
        current.share, current.since = share, command.at
        return self._changed(f"{current.plan.to} delivers {share} % of the partitions")

    def _stop(self, command: Command) -> Verdict:
        current = self._named(command)
        if current is None:
            return Verdict("there is no such rollout", False)
        if current.stopped is not None:
            return Verdict(f"was stopped already by {current.stopped.by}", False)
        current.share, current.since, current.stopped = 0, command.at, Said.of(command)
        return self._changed(f"{current.plan.before} delivers everything")

    def _finish(self, command: Command) -> Verdict:
        current = self._named(command)
        if current is None:
            return Verdict("there is no such rollout", False)
        if current.stopped is None and current.share < WHOLE:
            return Verdict(f"is at {current.share} % and not stopped", False)
        self.current = None
        return self._changed("versions count no more")


def sound(plan: RolloutPlan) -> bool:
    """Two versions, and rising stages that end with everything."""
    rising = list(plan.stages) == sorted(set(plan.stages))
    return (
        bool(plan.to and plan.before)
        and plan.to != plan.before
        and rising
        and bool(plan.stages and plan.stages[0] > 0 and plan.stages[-1] == WHOLE)
    )
