"""A flow's last minutes, added up from what the insight workers say. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from linkspan.kernel.records.latency import quantile
from linkspan.kernel.topics import WINDOW_STATUS

#: A record older than this says nothing any more; microseconds.
STALE = 5_000_000

#: What is counted, by the field of a window; ``accepted`` are events, the others kinds of outcomes.
COUNTED = {
    "accepted": "accepted",
    "delivered": "delivered",
    "attemptsFailed": "attempt_failed",
    "deadLettered": "dead_lettered",
    "held": "held",
    "expired": "expired",
    "filtered": "filtered",
    "duplicate": "duplicate",
    "superseded": "superseded",
    "discarded": "discarded",
    "redriven": "redriven",
}


def window_key(flow: str, worker: str) -> bytes:
    return WINDOW_STATUS + f"{flow}/{worker}".encode()


@dataclass(slots=True)
class Window:
    """``seconds``: its size; ``since``: microseconds since 1970. ``counts``: by kind of outcome, and ``accepted``.
    ``latency``: messages delivered by bucket (``kernel.records.latency``)."""

    seconds: int
    since: int
    until: int
    counts: Counter[str] = field(default_factory=Counter)
    latency: Counter[int] = field(default_factory=Counter)

    def rate(self, kind: str) -> float:
        """A second."""
        return self.counts[kind] * 1e6 / max(1, self.until - self.since)

    @property
    def error_ratio(self) -> float:
        """Failed attempts and dead letters, of these and the deliveries."""
        failed = self.counts["attempt_failed"] + self.counts["dead_lettered"]
        return failed / (failed + self.counts["delivered"]) if failed else 0.0

    def quantile(self, share: float) -> float | None:
        """Seconds from acceptance to delivery."""
        return quantile(self.latency, share)

    def add(self, other: Window) -> None:
        self.since, self.until = min(self.since, other.since), max(self.until, other.until)
        self.counts.update(other.counts)
        self.latency.update(other.latency)

    def record(self) -> dict[str, Any]:
        """As a part of ``WindowStatus``."""
        buckets = sorted(self.latency)
        return {
            "seconds": self.seconds,
            "since": self.since,
            **{name: self.counts[kind] for name, kind in COUNTED.items()},
            "acceptedRate": self.rate("accepted"),
            "deliveredRate": self.rate("delivered"),
            "errorRatio": self.error_ratio,
            **{f"p{percent}": self.quantile(percent / 100) for percent in (50, 95, 99)},
            "latencyBuckets": buckets,
            "latencyCounts": [self.latency[bucket] for bucket in buckets],
        }

    @classmethod
    def of(cls, record: Mapping[str, Any], until: int) -> Window:
        made = cls(record["seconds"], record["since"], until)
        made.counts.update({kind: record[name] for name, kind in COUNTED.items()})
        made.latency.update(dict(zip(record["latencyBuckets"], record["latencyCounts"], strict=False)))
        return made


@dataclass(slots=True)
class FlowWindows:
    """``windows``: by size in seconds. ``partitions``: those that some worker speaks of."""

    flow: str
    behind: int = 0
    partitions: set[int] = field(default_factory=set)
    windows: dict[int, Window] = field(default_factory=dict)


def flow_windows(records: Iterable[Mapping[str, Any]], now: int) -> dict[str, FlowWindows]:
    """By flow, from the latest ``WindowStatus`` datum of each key. Of two that speak of one partition, as may be for
    seconds after it changed its worker, only the newer counts."""
    by_flow: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        if now - record["at"] <= STALE:
            by_flow[record["flow"]].append(record)
    return {flow: _added(flow, found) for flow, found in by_flow.items()}


def _added(flow: str, records: list[Mapping[str, Any]]) -> FlowWindows:
    total = FlowWindows(flow)
    for record in sorted(records, key=lambda one: -one["at"]):
        if total.partitions & set(record["partitions"]):
            continue
        total.partitions |= set(record["partitions"])
        total.behind += record["behind"]
        for part in record["windows"]:
            window = Window.of(part, record["at"])
            if window.seconds in total.windows:
                total.windows[window.seconds].add(window)
            else:
                total.windows[window.seconds] = window
    return total
