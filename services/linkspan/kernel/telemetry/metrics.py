"""Every metric of Linkspan, declared once with its meaning. No message id or key is ever a label."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Sequence

from prometheus_client import Counter, Gauge, Histogram


class Durations(Histogram):
    """A histogram that takes many amounts at once: a lock a bucket instead of two an amount."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        found = Counts(bisect_left(self._upper_bounds, amount) for amount in amounts)
        self._sum.inc(sum(amounts))
        for bucket, count in found.items():
            self._buckets[bucket].inc(count)


SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)

ACCEPTED = Counter("linkspan_accepted_total", "Messages accepted: acknowledged by Kafka.", ["flow"])
SPOOLED = Counter("linkspan_spooled_total", "Messages accepted into the spool, on this machine's disk.", ["flow"])
SPOOL_MESSAGES = Gauge("linkspan_spool_messages", "Messages in this replica's spool.", ["flow"])
SPOOL_BYTES = Gauge("linkspan_spool_bytes", "Bytes of the messages in this replica's spool.")
SPOOL_OLDEST_SECONDS = Gauge("linkspan_spool_oldest_seconds", "Age of the oldest message in the spool; 0 when empty.")
REFUSED = Counter("linkspan_refused_total", "Messages refused at ingress, by the reason.", ["reason"])
APPEND_SECONDS = Histogram(
    "linkspan_append_seconds", "From the start of an append to Kafka's acknowledgement.", ["flow"], buckets=SECONDS
)
OUTCOMES = Counter("linkspan_outcomes_total", "Outcomes recorded, by kind.", ["flow", "kind"])
ATTEMPTS = Counter(
    "linkspan_attempts_total", "Delivery attempts, by result (delivered or a failure class).", ["flow", "result"]
)
IN_FLIGHT = Gauge("linkspan_in_flight", "Messages fetched and not finished.", ["flow"])
END_TO_END_SECONDS = Durations(
    "linkspan_end_to_end_seconds", "From acceptance to the other system's acknowledgement.", ["flow"], buckets=SECONDS
)
RATE_LIMITS = Counter(
    "linkspan_rate_limits_total",
    "Rate limits of a system: met (it answered 429), applied (its throttle here held something back).",
    ["system", "limit"],
)
BREAKER_STATE = Gauge(
    "linkspan_breaker_state",
    "Whether a destination is asked: 0 closed (yes), 1 probing, 2 open. to: the flow, or flow and field of a lookup.",
    ["system", "to"],
)
BREAKER_OPENED = Counter("linkspan_breaker_opened_total", "Times that a breaker opened.", ["system", "to"])
HELD_KEYS = Gauge("linkspan_held_keys", "Keys that wait behind a dead letter.", ["flow", "partition"])
DUPLICATE_WINDOW_SECONDS = Gauge(
    "linkspan_duplicate_window_seconds", "How far back a message id is known.", ["flow", "partition"]
)
OLDEST_UNFINISHED_SECONDS = Gauge(
    "linkspan_oldest_unfinished_seconds",
    "Age of the oldest event in the window that is not finished; alert at half of the retention.",
    ["flow", "partition"],
)
GONE = Counter("linkspan_gone_total", "Offsets that retention deleted before delivery.", ["flow"])
UNACCOUNTED = Gauge(
    "linkspan_unaccounted",
    "Events below their owner's position without an outcome, found in the log by this replica; must stay 0.",
    ["flow"],
)
UNWATCHED = Gauge(
    "linkspan_unaccounted_unchecked", "Events below their owner's position that are not looked at yet.", ["flow"]
)
SOURCE_CONNECTED = Gauge(
    "linkspan_source_connected",
    "1 while this replica holds the source's connection, or polls it and is answered.",
    ["source"],
)
POLLED = Counter(
    "linkspan_polled_total",
    "Changes read from a polled source: taken, unfit (a dead letter), skipped (a type that no flow takes).",
    ["source", "result"],
)
LOOKUPS = Counter(
    "linkspan_lookups_total",
    "Lookups of a transform: hit (in memory), found, missing, failed (the system cannot be asked).",
    ["flow", "result"],
)
CONTROL_CALLS = Counter(
    "linkspan_control_calls_total", "Calls of the control API, by how they ended.", ["method", "code"]
)
CONTROL_SECONDS = Histogram(
    "linkspan_control_seconds", "How long a call of the control API took.", ["method"], buckets=SECONDS
)
CONTROL_REFUSED = Counter(
    "linkspan_control_refused_total", "Calls of the control API that were not allowed, by why.", ["method", "reason"]
)
LEDGER_LAG = Gauge("linkspan_ledger_lag", "Events and outcomes that this worker has still to fold.", ["flow"])
LEDGER_FOLDED = Counter("linkspan_ledger_records_total", "Records folded into the ledger.", ["flow"])
LEDGER_BATCHES = Counter("linkspan_ledger_batches_total", "SQL transactions of folded records.")
LEDGER_BATCH_SECONDS = Histogram(
    "linkspan_ledger_batch_seconds", "Of one batch: reading rows, folding, the transaction.", buckets=SECONDS
)
LEDGER_FAILURES = Counter(
    "linkspan_ledger_failures_total",
    "Times that folding began anew: database (it was away), kafka, offsets (another worker had folded them).",
    ["what"],
)
LEDGER_UNACCOUNTED = Gauge(
    "linkspan_ledger_unaccounted",
    "Events below their owner's position without an outcome, of the partitions that this worker folds; must stay 0.",
    ["flow"],
)
LEDGER_REMOVED = Counter("linkspan_ledger_removed_total", "Messages removed for their age.")
