"""What the control topic says is in force. Pure: a verdict follows from what came before it alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from linkspan.kernel.commands import (
    DISCARD,
    FLUSH,
    LOG_LEVEL,
    PAUSE,
    PROFILING,
    REDRIVE,
    REFUSED,
    RESET_BREAKER,
    RESUME,
    Command,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``effective``: it changed something, or sets owners to work."""

    result: str
    effective: bool


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
    """In force after all that was folded; ``log_level`` empty: as each process was started."""

    def __init__(self) -> None:
        self.flows: dict[str, Paused] = {}
        self.destinations: dict[str, Paused] = {}
        self.log_level = ""
        self.profiling = Profiling()
        self._folds: dict[str, Callable[[Command], Verdict]] = {
            PAUSE: self._pause,
            RESUME: self._resume,
            LOG_LEVEL: self._level,
            PROFILING: self._profile,
            RESET_BREAKER: lambda _: Verdict("told all replicas", True),
            FLUSH: lambda one: Verdict(f"discards what is unfinished below {one.offset}", True),
            REDRIVE: _handed_on,
            DISCARD: _handed_on,
            REFUSED: lambda one: Verdict(f"{one.value} was refused", False),
        }

    def fold(self, command: Command) -> Verdict:
        """Commands in the order of their offsets."""
        fold = self._folds.get(command.kind)
        return fold(command) if fold else Verdict("not known to this version", False)

    def paused(self, flow: str, destination: str) -> Paused | None:
        """Why nothing of the flow is delivered now: for its own sake, or for its destination's."""
        return self.flows.get(flow) or self.destinations.get(destination)

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
        return Verdict(f"level {command.value}", True)

    def _profile(self, command: Command) -> Verdict:
        try:
            wanted = Profiling(min(1.0, max(0.0, float(command.value))), command.detailed)
        except ValueError:
            return Verdict(f"{command.value!r} is no rate", False)
        if wanted == self.profiling:
            return Verdict("was so already", False)
        self.profiling = wanted
        return Verdict(f"measures {wanted.rate:g} of the messages" if wanted.rate else "measures nothing more", True)


def _handed_on(command: Command) -> Verdict:
    return Verdict(f"handed to the owner of partition {command.partition}; its outcome names this command", True)
