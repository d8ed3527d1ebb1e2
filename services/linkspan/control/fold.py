"""What the control topic says is in force. Pure: a verdict follows from what came before it alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from linkspan.control.keys import Keys
from linkspan.control.replays import Replays
from linkspan.control.rollouts import Rollouts
from linkspan.control.verdict import Verdict
from linkspan.kernel.commands import (
    DISCARD,
    FLUSH,
    LOG_LEVEL,
    PAUSE,
    PROFILING,
    REDRIVE,
    REFUSED,
    REPARTITIONED,
    RESET_BREAKER,
    RESTORED,
    RESUME,
    TRANSFORM,
    Command,
)


@dataclass(frozen=True, slots=True)
class Paused:
    """``at``: microseconds since 1970."""

    by: str
    reason: str
    at: int


@dataclass(frozen=True, slots=True)
class Profiling:
    """``rate``: share of the messages that are measured, 0 to 1."""

    rate: float = 0.0
    detailed: bool = False


class ControlState:
    """In force after all that was folded; ``log_level`` empty: as each process was started. ``transforms``: the text of
    each that ever delivered something, by flow and hash."""

    def __init__(self) -> None:
        self.flows: dict[str, Paused] = {}
        self.destinations: dict[str, Paused] = {}
        self.log_level = ""
        self.profiling = Profiling()
        self.transforms: dict[tuple[str, str], str] = {}
        self.replays = Replays()
        self.keys = Keys()
        self.rollouts = Rollouts()
        self._folds: dict[str, Callable[[Command], Verdict]] = (
            {
                PAUSE: self._pause,
                RESUME: self._resume,
                LOG_LEVEL: self._level,
                PROFILING: self._profile,
                RESET_BREAKER: lambda _: Verdict("told all replicas", True),
                FLUSH: lambda one: Verdict(f"discards what is unfinished below {one.offset}", True),
                REDRIVE: _handed_on,
                DISCARD: _handed_on,
                REFUSED: lambda one: Verdict(f"{one.value} was refused", False),
                TRANSFORM: self._transform,
                REPARTITIONED: lambda one: Verdict(f"takes the place of {one.value}", False),
                RESTORED: lambda _: Verdict("the state of all partitions was put right", False),
            }
            | self.replays.folds
            | self.keys.folds
            | self.rollouts.folds
        )

    def knows(self, kind: str) -> bool:
        """Whether a command of this kind can mean anything here."""
        return kind in self._folds

    def fold(self, command: Command) -> Verdict:
        """Commands in the order of their offsets."""
        fold = self._folds.get(command.kind)
        return fold(command) if fold else Verdict(f"{command.kind} is not known to this version", False)

    def paused(self, flow: str, destination: str) -> Paused | None:
        """Why nothing of the flow is delivered now: for its own sake, or for its destination's."""
        return self.flows.get(flow) or self.destinations.get(destination)

    def pauses(self, flow: str, destination: str) -> list[tuple[str, Paused]]:
        """All that have to be resumed before the flow is delivered, each with what was paused."""
        found = (
            (f"flow {flow}", self.flows.get(flow)),
            (f"destination {destination}", self.destinations.get(destination)),
        )
        return [(target, paused) for target, paused in found if paused is not None]

    def _named(self, command: Command) -> tuple[dict[str, Paused], str]:
        return (self.flows, command.flow) if command.flow else (self.destinations, command.destination)

    def _pause(self, command: Command) -> Verdict:
        places, name = self._named(command)
        before = places.get(name)
        if before is not None:
            return Verdict(f"was paused already by {before.by}", False)
        places[name] = Paused(command.by, command.reason, command.at)
        return Verdict("paused", True)

    def _resume(self, command: Command) -> Verdict:
        places, name = self._named(command)
        if places.pop(name, None) is None:
            return Verdict("was not paused", False)
        return Verdict("resumed", True)

    def _level(self, command: Command) -> Verdict:
        if self.log_level == command.value:
            return Verdict(f"was {command.value} already", False)
        self.log_level = command.value
        return Verdict("set in all replicas", True)

    def _profile(self, command: Command) -> Verdict:
        try:
            wanted = Profiling(min(1.0, max(0.0, float(command.value))), command.detailed)
        except ValueError:
            return Verdict(f"{command.value!r} is no rate", False)
        if wanted == self.profiling:
            return Verdict("was so already", False)
        self.profiling = wanted
        return Verdict(
            f"measures {wanted.rate * 100:g} % of the messages" if wanted.rate else "measures nothing more", True
        )

    def _transform(self, command: Command) -> Verdict:
        if not isinstance(command.body, str) or not command.value:
            return Verdict("has no text", False)
        name = command.flow, command.value
        if self.transforms.setdefault(name, command.body) != command.body:
            return Verdict("another text with this hash is known", False)
        return Verdict("the text is kept", True)


def _handed_on(command: Command) -> Verdict:
    return Verdict(f"handed to the owner of partition {command.partition}; its outcome names this command", True)
