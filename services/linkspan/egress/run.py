"""One replay as this process takes part in it: where it goes, how fast, and whether it still should."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from linkspan.control.gate import Gate
from linkspan.control.replays import Phase, Replay
from linkspan.egress.deliver.adapter import Adapter
from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.offers import Offers
from linkspan.egress.partition.pace import Pace, ramped
from linkspan.egress.partition.replay import Part
from linkspan.egress.partition.state import PartitionState
from linkspan.egress.prepare import Preparation
from linkspan.egress.record.outcome import OutcomeWriter
from linkspan.kernel.codec import Datum
from linkspan.kernel.resilience.breaker import Breaker, Mode
from linkspan.kernel.resilience.limits import Limits


@dataclass(slots=True)
class Target:
    """Where a replay's messages go. ``own``: the flow's own destination, which live delivery uses first; ``rate``:
    messages a second at most, None: no limit; ``most``: attempts under way."""

    name: str
    adapter: Adapter
    breaker: Breaker
    limits: Limits
    gate: Gate
    own: bool
    rate: float | None
    most: int

    def capacity(self, now: float) -> int:
        """Of another system, whose connection nobody else looks after."""
        self.breaker.connection(self.adapter.away(), now)
        return 0 if self.gate.closed else self.adapter.capacity()


class Owned(Protocol):
    """The partition's owner."""

    partition: int
    state: PartitionState
    attempts: int

    def may_attempt(self, now: float) -> bool: ...


class Sender(Protocol):
    """A partition's part as the run sees it. ``waits``: what keeps it from sending; ``oldest``: age of its oldest
    unfinished live event, seconds."""

    owned: Owned
    pace: Pace
    waits: str

    @property
    def part(self) -> Part | None: ...

    def record(self, effect: Record, sent_at: int | None) -> None: ...

    def oldest(self) -> float: ...

    def wake(self) -> None: ...


Made = Mapping[str, tuple[Preparation, OutcomeWriter]]
"""By hash of the transform; empty: today's."""


class Run:
    """``goes``: it is neither paused nor to end; ``aborting``: it was found that it must not go on."""

    def __init__(self, replay: Replay, target: Target, made: Made) -> None:
        self.replay, self.target, self._made = replay, target, made
        self.parts: deque[Sender] = deque()
        self._ended: list[Part] = []
        self._shares: dict[int, float] = {}
        self._was_well = target.breaker.mode is Mode.CLOSED
        self.goes = self.aborting = False
        self.refresh()

    def offers(self, state: PartitionState) -> Offers | None:
        return state.offers if self.target.own else None

    def writer(self, transform: int) -> OutcomeWriter:
        return self._pair(transform)[1]

    def preparation(self, transform: int) -> Preparation:
        """``transform``: as the plan's list says."""
        return self._pair(transform)[0]

    def _pair(self, transform: int) -> tuple[Preparation, OutcomeWriter]:
        hashes = self.replay.head.transforms
        then = self.replay.options.as_of and 0 <= transform < len(hashes)
        return self._made.get(hashes[transform] if then else "", self._made[""])

    def refresh(self) -> None:
        """After each command: what it says is in force at once."""
        replay = self.replay
        phase = replay.phase
        self.goes = phase is Phase.RUNNING and not self.aborting
        self._shares = {part.partition: replay.share(part.partition) for part in replay.head.partitions}
        for one in self.parts:
            self._tell(one)

    def _tell(self, one: Sender) -> None:
        if one.part is not None:
            quota = self.replay.options.canary.get(one.owned.partition, 0)
            one.part.stopped = self.aborting or self.replay.stopped is not None
            one.part.quota = None if self.replay.confirmed else quota
        one.wake()

    def add(self, one: Sender) -> None:
        self.parts.append(one)
        self._tell(one)

    def remove(self, one: Sender) -> None:
        if one in self.parts:
            self.parts.remove(one)
            if one.part is not None:
                self._ended.append(one.part)

    def rate(self, partition: int, at: float) -> float:
        """Messages a second of this partition at ``at`` (seconds since 1970); 0: no limit."""
        since = at - self.replay.resumed_at / 1e6
        whole = self.replay.rate * self._shares.get(partition, 1.0)
        return max(whole and 0.001, ramped(whole, self.replay.options.ramp, since))

    def waits(self, one: Sender, now: float) -> str:
        """What keeps it from sending, as a status names it."""
        if not self.goes:
            return "paused"
        if one.part is not None and one.part.waits_for_confirmation:
            return "confirmation"
        if 0 < self.replay.options.yield_lag <= one.oldest():
            return "live"
        return "" if self.target.breaker.budget(now, 1) else "breaker"

    def counted(self) -> tuple[int, int]:
        """Answered attempts and the failed ones of them, here."""
        parts = self._ended + [one.part for one in self.parts if one.part is not None]
        return sum(part.sent for part in parts), sum(part.failed for part in parts)

    def must_end(self, others: Iterable[Datum]) -> str | None:
        """Why, by its options; ``others``: fresh status records of other replicas."""
        options = self.replay.options
        mode = self.target.breaker.mode
        self._was_well = self._was_well or mode is Mode.CLOSED
        if options.abort_on_breaker and self._was_well and mode is Mode.OPEN:
            return f"the breaker of {self.target.name} opened: {self.target.breaker.reason}"
        lag = max((one.oldest() for one in self.parts), default=0.0)
        if 0 < options.abort_lag < lag:
            return f"live delivery is {lag:.1f} s behind, more than {options.abort_lag:g} s"
        sent, failed = self.counted()
        for said in others:
            for one in said.get("replays", ()):
                if one["plan"] == self.replay.plan:
                    sent, failed = sent + one["sent"], failed + one["failed"]
        canary = sum(options.canary.values())
        least = options.min_sent if self.replay.confirmed else min(options.min_sent, canary)
        if failed and sent >= max(1, least) and failed > options.max_failures * sent:
            return f"{failed} of {sent} answers were failures, more than {options.max_failures:.0%}"
        return None

    def status(self) -> dict[str, Any]:
        """Its ``ReplayStatus``."""
        parts = [(one, one.part) for one in self.parts if one.part is not None]
        sent, failed = self.counted()
        reasons = {one.waits for one, _ in parts}
        return {
            "plan": self.replay.plan,
            "flow": self.replay.flow,
            "partitions": sorted(one.owned.partition for one, _ in parts),
            "dispositions": dict(sum((part.listed.counts for _, part in parts), Counter())),
            "sent": sent,
            "failed": failed,
            "inFlight": sum(part.in_flight for _, part in parts),
            "waits": reasons.pop() if len(reasons) == 1 else "",
        }


MakeTarget = Callable[[str], Target]
