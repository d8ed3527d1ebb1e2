"""Insight's metrics: those of its own process. The others: ``kernel.telemetry.metrics``."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 86400)

READ = Counter("linkspan_insight_read_total", "Records read, by the kind of topic.", ["kind"])
SKIPPED = Counter(
    "linkspan_insight_skipped_total",
    "Records that could not be counted: event (no ids), outcome (no valid record), mention, table (a row).",
    ["what"],
)
STALE = Counter("linkspan_insight_stale_total", "Outcomes of a former owner, which do not count.", ["flow"])
BEHIND = Gauge("linkspan_insight_behind", "Records of this worker's partitions that are not counted yet.")
CONVERSATIONS = Gauge(
    "linkspan_conversations",
    "Conversations in this worker's partitions: waiting, overdue, and answered or late ones that are still kept.",
    ["flow", "state"],
)
ROUND_TRIP_SECONDS = Histogram(
    "linkspan_round_trip_seconds",
    "From the acceptance of a request to that of its answer; after a crash some are observed twice.",
    ["flow"],
    buckets=_SECONDS,
)
