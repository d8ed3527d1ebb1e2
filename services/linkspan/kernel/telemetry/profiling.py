"""Where the time of single messages goes: a sample of them is measured while somebody wants to know."""

from __future__ import annotations

import heapq
import itertools
import random
import time
from contextlib import suppress
from dataclasses import dataclass

from linkspan.kernel.message import now_micros
from linkspan.kernel.telemetry.stalls import StallWatch

#: The slowest that are remembered.
SLOWEST = 100


@dataclass(slots=True)
class Stage:
    """Seconds."""

    count: int = 0
    total: float = 0.0
    longest: float = 0.0


@dataclass(frozen=True, slots=True)
class Operation:
    """``took``: seconds; ``at``: microseconds since 1970, when it ended."""

    stage: str
    message_id: str
    took: float
    at: int


class Profile:
    """Of a process. ``rate`` 0: nothing is measured, and asking costs one comparison. ``detailed``: each stage by
    itself too, else whole messages alone. ``stalls``: of the event loop in which measuring began, None before."""

    def __init__(self) -> None:
        self.rate, self.detailed = 0.0, False
        self.stages: dict[str, Stage] = {}
        self.stalls: StallWatch | None = None
        self._slowest: list[tuple[float, int, Operation]] = []
        self._serial = itertools.count()

    def measure(self, rate: float, *, detailed: bool) -> None:
        """From now on; a new sample begins with nothing. What was measured stays when it ends."""
        if self.stalls is not None:
            self.stalls.stop()
        if rate:
            self.stages, self._slowest = {}, []
            with suppress(RuntimeError):  # no event loop runs here
                self.stalls = StallWatch()
        self.rate, self.detailed = rate, detailed

    def sample(self, message_id: str = "") -> Measured | None:
        """None where the message is not measured."""
        measured = self.rate and random.random() < self.rate  # noqa: S311 - a sample
        return Measured(self, message_id) if measured else None

    def add(self, stage: str, took: float, message_id: str) -> None:
        """``took``: seconds."""
        found = self.stages.setdefault(stage, Stage())
        found.count += 1
        found.total += took
        found.longest = max(found.longest, took)
        if len(self._slowest) < SLOWEST:
            heapq.heappush(self._slowest, self._entry(stage, took, message_id))
        elif took > self._slowest[0][0]:
            heapq.heapreplace(self._slowest, self._entry(stage, took, message_id))

    def _entry(self, stage: str, took: float, message_id: str) -> tuple[float, int, Operation]:
        return took, next(self._serial), Operation(stage, message_id, took, now_micros())

    def slowest(self, count: int) -> list[Operation]:
        """The slowest first."""
        return [one for _, _, one in heapq.nlargest(count, self._slowest)]


class Measured:
    """One message on its way."""

    __slots__ = ("_began", "_profile", "_since", "message_id")

    def __init__(self, profile: Profile, message_id: str) -> None:
        self._profile, self.message_id = profile, message_id
        self._began = self._since = time.perf_counter()

    def stage(self, name: str) -> None:
        """It ended; the next one begins."""
        now = time.perf_counter()
        if self._profile.detailed:
            self._profile.add(name, now - self._since, self.message_id)
        self._since = now

    def end(self, name: str) -> None:
        """Of the whole way."""
        self._profile.add(name, time.perf_counter() - self._began, self.message_id)


#: Of this process, as its metrics are.
PROFILE = Profile()
