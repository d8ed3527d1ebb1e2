"""How a metric is declared: once, with its meaning, its unit, and labels whose values are known to be few."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.samples import Exemplar, Sample

#: What bounds the values of a label. There is no label for a message, a key or a correlation id.
LABELS = {
    "flow": "a flow of the integration file",
    "destination": "the system that the flow delivers to",
    "system": "a system of the integration file",
    "source": "a system of the integration file that is polled or connected to",
    "to": "a flow, or a flow and a field of one of its lookups",
    "partition": "a number below the flow's `partitions`",
    "kind": "a word of a fixed list",
    "result": "a word of a fixed list",
    "stage": "a word of a fixed list",
    "state": "a word of a fixed list",
    "limit": "a word of a fixed list",
    "reason": "a word of a fixed list",
    "what": "a word of a fixed list",
    "disposition": "a word of a fixed list",
    "query": "a question of the ledger's list",
    "method": "a call of the control API",
    "code": "a status code of gRPC",
    "certificate": "the use of a certificate",
    "host": "a host of the configuration that is connected to by TLS",
    "use": "what a key encrypts",
}

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)
LONG_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 86400)
BYTES = (256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304)

#: Amounts that a histogram keeps before it counts them.
_NOTED = 1_000

# The time at which a series began: a sample more of each, which nothing here asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Durations(Histogram):
    """A histogram that takes many amounts at once: a lock a bucket instead of two an amount.

    ``note`` is for hot paths: it costs an append to a list, and is counted when it is read, or after 1,000.
    """

    def _metric_init(self) -> None:
        super()._metric_init()
        self._noted: list[float] = []

    def note(self, amount: float) -> None:
        self._noted.append(amount)
        if len(self._noted) >= _NOTED:
            self._count_noted()

    def observe_all(self, amounts: Sequence[float]) -> None:
        found = Counts(bisect_left(self._upper_bounds, amount) for amount in amounts)
        self._sum.inc(sum(amounts))
        for bucket, count in found.items():
            self._buckets[bucket].inc(count)

    def example(self, amount: float, traceparent: str | None) -> None:
        """Shows its trace, if that is sampled, beside the bucket of ``amount``, which is counted elsewhere."""
        if traceparent and traceparent[-1] in "13579bdf":
            bucket = self._buckets[bisect_left(self._upper_bounds, amount)]
            bucket.set_exemplar(Exemplar({"trace_id": traceparent[3:35]}, amount, time.time()))

    def _count_noted(self) -> None:
        noted, self._noted = self._noted, []
        if noted:
            self.observe_all(noted)

    def _child_samples(self) -> Iterable[Sample]:
        self._count_noted()
        return super()._child_samples()


@dataclass(frozen=True, slots=True)
class Declared:
    """``of``: the processes that have it; ``type``: counter, gauge or histogram."""

    name: str
    type: str
    of: str
    unit: str
    meaning: str
    labels: tuple[str, ...]

    @property
    def series(self) -> tuple[str, ...]:
        """Names as they are asked for."""
        if self.type != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))


#: In the order of the declarations.
DECLARED: list[Declared] = []


class Process:
    """Declares the metrics of one kind of process. Raises ValueError for a label that is not in ``LABELS``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def counter(self, name: str, unit: str, meaning: str, *labels: str) -> Counter:
        self._declare(name, "counter", unit, meaning, labels)
        return Counter(name, meaning, labels)

    def gauge(self, name: str, unit: str, meaning: str, *labels: str) -> Gauge:
        self._declare(name, "gauge", unit, meaning, labels)
        return Gauge(name, meaning, labels)

    def seconds(self, name: str, meaning: str, *labels: str, buckets: Sequence[float] = SECONDS) -> Durations:
        return self._histogram(name, "seconds", meaning, labels, buckets)

    def bytes(self, name: str, meaning: str, *labels: str) -> Durations:
        return self._histogram(name, "bytes", meaning, labels, BYTES)

    def _histogram(self, name: str, unit: str, meaning: str, labels: Any, buckets: Sequence[float]) -> Durations:
        self._declare(name, "histogram", unit, meaning, labels)
        return Durations(name, meaning, labels, buckets=buckets)

    def _declare(self, name: str, kind: str, unit: str, meaning: str, labels: tuple[str, ...]) -> None:
        unknown = set(labels) - LABELS.keys()
        if unknown:
            raise ValueError(f"{name}: nothing is said to bound the label {', '.join(sorted(unknown))}")
        DECLARED.append(Declared(name, kind, self._name, unit, meaning, tuple(labels)))
