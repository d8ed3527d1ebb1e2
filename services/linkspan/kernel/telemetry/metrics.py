"""Every metric of Linkspan, declared once with its unit and meaning (docs/metrics.md).

No message and no key is ever a label.
"""

from __future__ import annotations

from linkspan.kernel.telemetry.declared import LONG_SECONDS, Process

_ingress, _egress = Process("ingress"), Process("egress")
_ledger, _insight, _archive = Process("ledger"), Process("insight"), Process("archive")
_control, _both, _all = Process("ingress, egress"), Process("ingress, egress"), Process("all")

ACCEPTED = _ingress.counter(
    "linkspan_accepted_total", "messages", "Accepted: acknowledged to the sender, in Kafka or in the spool.", "flow"
)
APPENDED = _ingress.counter(
    "linkspan_appended_total", "messages", "Appended: acknowledged by Kafka, also what comes out of the spool.", "flow"
)
KNOWN = _ingress.counter(
    "linkspan_known_total", "messages", "Acknowledged and not appended: this replica had accepted them before.", "flow"
)
REFUSED = _ingress.counter("linkspan_refused_total", "messages", "Refused at ingress, by the reason.", "reason")
THROTTLED = _ingress.counter(
    "linkspan_throttled_total",
    "requests",
    "Answered with 429, by who sent too much: key, token, address (nobody is asked), refused (too many credentials of "
    "an address were).",
    "kind",
)
CONNECTIONS_ENDED = _ingress.counter(
    "linkspan_connections_ended_total",
    "connections",
    "Of senders, ended from here: full (too many), address (too many of one address), head and body (too slow), size "
    "(of a head), unread (answers are not read).",
    "reason",
)
MESSAGE_BYTES = _ingress.bytes("linkspan_message_bytes", "Size of an event as it is appended.", "flow")
SPOOLED = _ingress.counter(
    "linkspan_spooled_total", "messages", "Accepted into the spool, on this machine's disk.", "flow"
)
SPOOL_MESSAGES = _ingress.gauge("linkspan_spool_messages", "messages", "In this replica's spool.", "flow")
SPOOL_BYTES = _ingress.gauge("linkspan_spool_bytes", "bytes", "Of the messages in this replica's spool.")
SPOOL_OLDEST_SECONDS = _ingress.gauge(
    "linkspan_spool_oldest_seconds", "seconds", "Age of the oldest message in the spool; 0 when empty."
)
SOURCE_CONNECTED = _ingress.gauge(
    "linkspan_source_connected",
    "0 or 1",
    "1 while this replica holds the source's connection, or polls it and is answered.",
    "source",
)
POLLED = _ingress.counter(
    "linkspan_polled_total",
    "changes",
    "Read from a polled source: taken, unfit (a dead letter), skipped (a type that no flow takes).",
    "source",
    "result",
)

STAGE_SECONDS = _both.seconds(
    "linkspan_stage_seconds",
    "A stage of a message's way: append (a batch, until Kafka's acknowledgement), wait (from acceptance to the first "
    "attempt), prepare (decode and transform), record (a batch of outcomes, until Kafka's acknowledgement). The "
    "attempt itself is linkspan_destination_seconds.",
    "flow",
    "stage",
)
RATE_LIMITS = _both.counter(
    "linkspan_rate_limits_total",
    "times",
    "Requests were throttled: met (the system answered 429), applied (its throttle here held something back).",
    "system",
    "limit",
)

OUTCOMES = _egress.counter(
    "linkspan_outcomes_total",
    "outcomes",
    "Recorded, by kind: delivered, duplicate, dead_lettered and the others.",
    "flow",
    "destination",
    "kind",
)
ATTEMPTS = _egress.counter(
    "linkspan_attempts_total",
    "attempts",
    "Delivery attempts, by result: delivered, withheld (not sent, for a reason of ours), or the failure's class.",
    "flow",
    "destination",
    "result",
)
DEAD_LETTERS = _egress.counter(
    "linkspan_dead_lettered_total", "messages", "Became dead letters, by the class of failure.", "flow", "reason"
)
IN_FLIGHT = _egress.gauge(
    "linkspan_in_flight", "messages", "Fetched by this replica and not finished.", "flow", "destination"
)
LAG = _egress.gauge("linkspan_lag", "messages", "Not fetched yet, of one partition.", "flow", "partition")
OLDEST_UNFINISHED_SECONDS = _egress.gauge(
    "linkspan_oldest_unfinished_seconds",
    "seconds",
    "Age of the oldest event in the window that is not finished; alert long before half of the retention.",
    "flow",
    "partition",
)
END_TO_END_SECONDS = _egress.seconds(
    "linkspan_end_to_end_seconds",
    "From acceptance to the record of the delivery; what was released by a redrive does not count.",
    "flow",
    "destination",
)
DESTINATION_SECONDS = _egress.seconds(
    "linkspan_destination_seconds",
    "Round trip of an attempt, whatever came of it: from handing it to the connection to the answer.",
    "flow",
    "destination",
)
BREAKER_STATE = _egress.gauge(
    "linkspan_breaker_state",
    "0, 1 or 2",
    "Whether a destination is asked: 0 closed (yes), 1 probing, 2 open. to: the flow, or flow and field of a lookup.",
    "system",
    "to",
)
BREAKER_OPENED = _egress.counter("linkspan_breaker_opened_total", "times", "A breaker opened.", "system", "to")
HELD_KEYS = _egress.gauge("linkspan_held_keys", "keys", "Wait behind a dead letter.", "flow", "partition")
DUPLICATE_WINDOW_SECONDS = _egress.gauge(
    "linkspan_duplicate_window_seconds", "seconds", "How far back a message id is known.", "flow", "partition"
)
MISFIT = _egress.gauge(
    "linkspan_partition_misfit",
    "0 or 1",
    "1 where a partition is not delivered because its logs do not fit its position: run linkspan restored.",
    "flow",
    "partition",
)
GONE = _egress.counter("linkspan_gone_total", "offsets", "Deleted by retention before delivery.", "flow")
UNACCOUNTED = _egress.gauge(
    "linkspan_unaccounted",
    "events",
    "Below their owner's position without an outcome, found in the log by this replica; must stay 0.",
    "flow",
)
UNWATCHED = _egress.gauge(
    "linkspan_unaccounted_unchecked", "events", "Below their owner's position and not looked at yet.", "flow"
)
LOOKUPS = _egress.counter(
    "linkspan_lookups_total",
    "lookups",
    "Of a transform: hit (in the cache), found, missing, failed (the system cannot be asked).",
    "flow",
    "result",
)
REPLAY_RECORDS = _egress.counter(
    "linkspan_replay_records_total", "records", "That replays looked at, by what became of each.", "flow", "disposition"
)
REPLAY_ACTIVE = _egress.gauge("linkspan_replay_active", "replays", "Under way in this replica.", "flow")

NOT_UNDERSTOOD = _both.counter(
    "linkspan_not_understood_total",
    "records",
    "Of another version of Linkspan, that mean nothing to this one: commands of a kind or a schema it does not know.",
    "what",
)
CONTROL_CALLS = _control.counter(
    "linkspan_control_calls_total", "calls", "Of the control API, by how they ended.", "method", "code"
)
CONTROL_SECONDS = _control.seconds("linkspan_control_seconds", "How long a call of the control API took.", "method")
CONTROL_REFUSED = _control.counter(
    "linkspan_control_refused_total", "calls", "Of the control API that were not allowed, by why.", "method", "reason"
)
LEDGER_QUERY_SECONDS = _control.seconds(
    "linkspan_ledger_query_seconds", "How long the ledger's database took for a question.", "query"
)
CERTIFICATE_EXPIRES = _all.gauge(
    "linkspan_certificate_expires_timestamp_seconds",
    "seconds since 1970",
    "When the first certificate of the chain that is served ends: http, control.",
    "certificate",
)
PEER_CERTIFICATE_EXPIRES = _all.gauge(
    "linkspan_peer_certificate_expires_timestamp_seconds",
    "seconds since 1970",
    "When the certificate ends that a host showed at the last handshake with it.",
    "host",
)
KEY_CREATED = _both.gauge(
    "linkspan_key_created_timestamp_seconds",
    "seconds since 1970",
    "When the newest key of the keyring was made, as this process has it; there with LINKSPAN_KEYRING.",
    "use",
)

LEDGER_LAG = _ledger.gauge("linkspan_ledger_lag", "records", "That this worker has still to fold.", "flow")
LEDGER_STEPPED = _ledger.gauge(
    "linkspan_ledger_stepped_timestamp_seconds",
    "seconds since 1970",
    "When this worker last had nothing in its way: it folded, or there was nothing to fold.",
)
LEDGER_FOLDED = _ledger.counter("linkspan_ledger_records_total", "records", "Folded into the ledger.", "flow")
LEDGER_BATCHES = _ledger.counter("linkspan_ledger_batches_total", "transactions", "Of folded records.")
LEDGER_BATCH_SECONDS = _ledger.seconds(
    "linkspan_ledger_batch_seconds", "Of one batch: reading rows, folding, the transaction."
)
LEDGER_FAILURES = _ledger.counter(
    "linkspan_ledger_failures_total",
    "times",
    "Folding began anew: database (it was away), kafka, offsets (another worker had folded them).",
    "what",
)
LEDGER_UNACCOUNTED = _ledger.gauge(
    "linkspan_ledger_unaccounted",
    "events",
    "Below their owner's position without an outcome, of the partitions that this worker folds; must stay 0.",
    "flow",
)
LEDGER_REMOVED = _ledger.counter("linkspan_ledger_removed_total", "messages", "Removed for their age.")
DEAD_LETTERS_WAITING = _ledger.gauge(
    "linkspan_dead_letters", "messages", "Dead letters that wait for a decision, in this worker's partitions.", "flow"
)
DEAD_LETTER_OLDEST_SECONDS = _ledger.gauge(
    "linkspan_dead_letter_oldest_seconds",
    "seconds",
    "Since the oldest dead letter that waits for a decision became one; 0 where none waits.",
    "flow",
)

CONVERSATIONS = _insight.gauge(
    "linkspan_conversations",
    "conversations",
    "In this worker's partitions: waiting, overdue, and answered or late ones that are still kept.",
    "flow",
    "state",
)
ROUND_TRIP_SECONDS = _insight.seconds(
    "linkspan_round_trip_seconds",
    "From the acceptance of a request to that of its answer; after a crash some are observed twice.",
    "flow",
    buckets=LONG_SECONDS,
)
INSIGHT_BEHIND = _insight.gauge("linkspan_insight_behind", "records", "Of this worker's partitions, not counted yet.")
INSIGHT_READ = _insight.counter("linkspan_insight_read_total", "records", "Read, by the kind of topic.", "kind")
INSIGHT_SKIPPED = _insight.counter(
    "linkspan_insight_skipped_total",
    "records",
    "That could not be counted: event (no ids), outcome (no valid record), mention, table (a row).",
    "what",
)
INSIGHT_STALE = _insight.counter(
    "linkspan_insight_stale_total", "outcomes", "Of a former owner, which do not count.", "flow"
)

ARCHIVED = _archive.counter("linkspan_archived_total", "records", "Written to the archive.", "flow", "what")
ARCHIVED_BYTES = _archive.counter("linkspan_archived_bytes_total", "bytes", "Of segments, compressed.", "flow", "what")
ARCHIVE_LAG = _archive.gauge(
    "linkspan_archive_lag", "offsets", "In Kafka and not archived yet, as of the last round.", "flow", "what"
)
ARCHIVE_LAG_SECONDS = _archive.gauge(
    "linkspan_archive_lag_seconds", "seconds", "Age of the oldest record that is not archived; 0: none.", "flow", "what"
)
ARCHIVE_RETENTION_SECONDS = _archive.gauge(
    "linkspan_archive_retention_seconds", "seconds", "So long Kafka keeps a record, by policy.", "flow", "what"
)
ARCHIVE_ROUND = _archive.gauge(
    "linkspan_archive_success_timestamp_seconds", "seconds since 1970", "When all of a round was archived last."
)
ARCHIVE_MISSED = _archive.counter(
    "linkspan_archive_missed_total",
    "offsets",
    "Gone from Kafka by retention before they were archived; holes of the archive.",
    "flow",
    "what",
)
ARCHIVE_FAILURES = _archive.counter(
    "linkspan_archive_failures_total", "times", "A partition could not be archived: kafka, archive, damaged.", "what"
)

EVENT_LOOP_DELAY_SECONDS = _all.seconds(
    "linkspan_event_loop_delay_seconds", "How late the event loop was for something due, looked at four times a second."
)
