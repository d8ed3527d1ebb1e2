"""How far a replay is: the accounts of the parts that are done, and what owners say of the others."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from linkspan.control.replays import Phase, Replay
from linkspan.kernel.codec import Datum
from linkspan.kernel.records.plan import FAILED

#: The rate is that of the last looks, seconds.
_SPAN = 10.0
CONFIRMATION, PAUSED, OWNER = "confirmation", "paused", "owner"


@dataclass(frozen=True, slots=True)
class Progress:
    """``dispositions``: planned records that ended; ``rate``: of them a second, of late; ``remaining``: seconds, None
    where that is not known; ``waits``: what all of it waits for."""

    dispositions: Counter[str]
    in_flight: int = 0
    rate: float = 0.0
    remaining: float | None = None
    waits: str = ""

    @property
    def finished(self) -> int:
        return sum(self.dispositions.values())

    @property
    def failed(self) -> int:
        return self.dispositions[FAILED]


@dataclass(slots=True)
class _Seen:
    """``best``: the most that was heard: a disposition stays, also while a partition has no owner who says so."""

    best: Counter[str] = field(default_factory=Counter)
    looks: deque[tuple[float, int]] = field(default_factory=deque)


class ProgressView:
    """``newest``: the fresh records of the status topic; ``heard``: the same, once all that live must have spoken;
    ``clock``: seconds."""

    def __init__(
        self,
        newest: Callable[[], Sequence[Datum]],
        heard: Callable[[], Awaitable[Sequence[Datum]]],
        clock: Callable[[], float],
    ) -> None:
        self._newest, self._heard, self._clock = newest, heard, clock
        self._seen: dict[str, _Seen] = {}

    async def ready(self) -> None:
        """Right after the process's start it is not known yet who works on what."""
        await self._heard()

    def of(self, replay: Replay) -> Progress:
        if not replay.active:
            self._seen.pop(replay.plan, None)
            return Progress(replay.dispositions)
        said = [one for status in self._newest() for one in status["replays"] if one["plan"] == replay.plan]
        seen = self._seen.setdefault(replay.plan, _Seen())
        found = dispositions(replay, said)
        if found.total() >= seen.best.total():
            seen.best = found
        rate = self._rate(seen, seen.best.total())
        return Progress(
            Counter(seen.best),
            sum(one["inFlight"] for one in said),
            rate,
            remaining(replay, seen.best.total(), rate),
            waits(replay, said),
        )

    def _rate(self, seen: _Seen, finished: int) -> float:
        now = self._clock()
        seen.looks.append((now, finished))
        while now - seen.looks[0][0] > _SPAN:
            seen.looks.popleft()
        since, before = seen.looks[0]
        return (finished - before) / (now - since) if now > since else 0.0


def dispositions(replay: Replay, said: Iterable[Datum]) -> Counter[str]:
    """A replica's record may be older than the account of a part that it had: that part counts once."""
    found = replay.dispositions
    for one in said:
        found += Counter(one["dispositions"])
        for partition in one["partitions"]:
            if partition in replay.done:
                found -= Counter(replay.done[partition].dispositions)  # never below zero
    return found


def waits(replay: Replay, said: Sequence[Datum]) -> str:
    if replay.phase is Phase.PAUSED:
        return PAUSED
    worked = {partition for one in said for partition in one["partitions"]}
    if not worked & replay.open:
        return OWNER
    reasons = {one["waits"] for one in said if replay.open & set(one["partitions"])}
    return reasons.pop() if len(reasons) == 1 else ""


def remaining(replay: Replay, finished: int, rate: float) -> float | None:
    """Seconds; by the rate of late, or by the one that it was told to keep to."""
    left = min(replay.head.records - finished, replay.head.to_send(replay.options))
    pace = rate or replay.rate
    return left / pace if pace and replay.phase is Phase.RUNNING else None
