"""Whether the replicas do what a rollout says, by what they tell of themselves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from linkspan.cli.output import ranges
from linkspan.kernel.codec import Datum
from linkspan.kernel.records.rollout import RolloutPlan, portion


def of_egress(replicas: Iterable[Datum]) -> list[Datum]:
    return [one for one in replicas if one["service"] == "egress"]


def partitions_by_version(replicas: Iterable[Datum], flow: str) -> dict[str, set[int]]:
    """Those that are delivered."""
    found: dict[str, set[int]] = {}
    for replica in replicas:
        mine = found.setdefault(replica["version"], set())
        mine.update(number for one in replica["flows"] if one["flow"] == flow for number in one["partitions"])
    return found


#: A replica that ends and is started anew so often, within so many patiences, does not stay.
_RESTARTS, _PATIENCES = 3, 10


class Faults:
    """What is not as it should be, and since when; a fault counts when it has lasted."""

    def __init__(self, plan: RolloutPlan, partitions: Mapping[str, int]) -> None:
        """``partitions``: how many each flow of the rollout has."""
        self._plan, self._partitions = plan, partitions
        self._since: dict[str, tuple[float, str]] = {}
        self._seen: dict[str, float] = {}
        self._most = 0

    @property
    def some(self) -> bool:
        """Also those that have not lasted yet."""
        return bool(self._since)

    def forget(self) -> None:
        """What counts from its beginning; not how often replicas began."""
        self._since.clear()

    def look(self, replicas: Sequence[Datum], share: int, now: float) -> str | None:
        """``now`` in seconds; what has lasted for the plan's patience, None: nothing."""
        egress = of_egress(replicas)
        found = {flow: why for flow in self._partitions if (why := self._split(egress, flow, share))}
        found |= {f"breaker {flow}": why for flow in self._partitions if (why := self._breaker(egress, flow))}
        self._since = {name: (self._since.get(name, (now, ""))[0], why) for name, why in found.items()}
        if (restarts := self._restarts(egress, now)) > _RESTARTS:
            within = _PATIENCES * self._plan.patience
            return f"replicas of {self._plan.to} ended and began anew {restarts} times within {within:g} s"
        lasting = (why for since, why in self._since.values() if now - since >= self._plan.patience)
        return next(lasting, None)

    def _restarts(self, egress: Sequence[Datum], now: float) -> int:
        """A process has a name of its own, so one that was only silent for a while is the same."""
        there = [one["replica"] for one in egress if one["version"] == self._plan.to]
        self._most = max(self._most, len(there))
        self._seen |= dict.fromkeys(there, now)
        oldest = now - _PATIENCES * self._plan.patience
        self._seen = {name: at for name, at in self._seen.items() if at >= oldest}
        return len(self._seen) - self._most

    def _split(self, egress: Sequence[Datum], flow: str, share: int) -> str | None:
        count = self._partitions[flow]
        wanted = set(range(portion(count, share)))
        has = partitions_by_version(egress, flow).get(self._plan.to, set())
        if missing := wanted - has:
            return f"{self._plan.to} does not deliver {flow} {ranges(missing)}"
        if more := has - wanted:
            return f"{self._plan.to} delivers {flow} {ranges(more)}, which is more than {share} %"
        return None

    def _breaker(self, egress: Sequence[Datum], flow: str) -> str | None:
        """Where the old version cannot deliver either, it is the destination that is away."""
        # One that probes was open, and does not deliver yet.
        open_: dict[bool, list[str]] = {True: [], False: []}
        for replica in egress:
            for one in replica["flows"]:
                if one["flow"] == flow and one["partitions"] and one["breaker"] != "closed":
                    open_[replica["version"] == self._plan.to].append(one["reason"] or "its destination is away")
        if open_[True] and not open_[False]:
            return f"the breaker of {flow} is open in {self._plan.to} alone: {open_[True][0]}"
        return None
