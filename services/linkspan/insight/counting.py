"""The windows of all flows, in the partitions that this worker has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from linkspan.insight.shelf import Shelf
from linkspan.insight.windows import SIZES, PartitionWindows
from linkspan.insight.writes import Writes
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.errors import Poison
from linkspan.kernel.records.epoch import OWNER
from linkspan.kernel.records.event import Event
from linkspan.kernel.records.fact import OPENED
from linkspan.kernel.records.outcome import fact_of
from linkspan.kernel.telemetry import metrics
from linkspan.kernel.topics import Headers
from linkspan.readmodel.windows import Window


class Counting:
    def __init__(self, shelves: dict[str, Shelf], codec: OutcomeCodec) -> None:
        self._shelves, self._codec = shelves, codec
        self._windows: dict[tuple[str, int], PartitionWindows] = {}

    def clear(self) -> None:
        self._windows = {}

    def load(self, flow: str, partitions: Iterable[int]) -> None:
        for partition in partitions:
            windows = self._windows[flow, partition] = PartitionWindows()
            windows.load(self._shelves[flow].items(partition))

    def event(self, flow: str, partition: int, event: Event, now: int) -> None:
        self._of(flow, partition).event(event.offset, event.accepted_at, now)

    def outcome(self, flow: str, record: Any, now: int) -> None:
        """Not where it is a replay's, or one that is void, does not count."""
        windows, fact = self._of(flow, record.partition), fact_of(record)
        if fact.kind == OWNER:
            windows.owner(record.offset, fact.epoch)
        elif not windows.valid(record.offset, fact.epoch):
            metrics.INSIGHT_STALE.labels(flow).inc()
        elif not fact.plan and fact.kind != OPENED and Headers.UNTIL not in dict(record.headers):
            try:
                said = self._codec.decode(record.value)
            except Poison:
                metrics.INSIGHT_SKIPPED.labels("outcome").inc()
                return
            delivered, accepted = said["kind"] == "delivered", said["acceptedAt"]
            latency = said["at"] - accepted if delivered and accepted is not None else None
            windows.outcome(record.offset, said["kind"], said["at"], latency, now)

    def changes(self, now: int, writes: Writes) -> None:
        for (flow, partition), windows in self._windows.items():
            windows.forget(now)
            for key, value in windows.changes().items():
                writes.row(self._shelves[flow], partition, key, value)

    def kept(self) -> None:
        for windows in self._windows.values():
            windows.kept()

    def partitions(self, flow: str) -> list[int]:
        return sorted(partition for name, partition in self._windows if name == flow)

    def windows(self, flow: str, now: int) -> list[Window]:
        """Of all partitions that this worker has, by size."""
        found = [windows for (name, _), windows in self._windows.items() if name == flow]
        totals = []
        for size in SIZES:
            total = PartitionWindows().window(size, now)
            for windows in found:
                total.add(windows.window(size, now))
            totals.append(total)
        return totals

    def _of(self, flow: str, partition: int) -> PartitionWindows:
        return self._windows[flow, partition]
