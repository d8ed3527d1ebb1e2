"""When each alert fires and when it is silent, as promtool is asked: series, the time of the look, who fires."""

from __future__ import annotations

from dataclasses import dataclass, field

MINUTE, HOUR, DAY = 1, 60, 24 * 60


@dataclass(frozen=True)
class Case:
    """``series``: name and labels -> values in promtool's notation, one a minute. ``at``: minutes; time begins on
    Thursday, 1970-01-01 at 0:00 UTC. ``fires``: labels of those that do, without alertname and severity."""

    alert: str
    at: int
    series: dict[str, str] = field(default_factory=dict)
    fires: tuple[dict[str, str], ...] = ()


FLOW = {"flow": "orders"}
ACCEPTED = 'linkspan_accepted_total{flow="orders",job="linkspan-ingress"}'
SPOOL = 'linkspan_spool_messages{flow="orders"}'
UP = 'up{job="linkspan-egress",instance="a:1"}'
DELIVERED, WITHHELD, REJECTED = (
    f'linkspan_attempts_total{{flow="orders",destination="store",result="{result}"}}'
    for result in ("delivered", "withheld", "rejected")
)
TO_STORE = FLOW | {"destination": "store"}
TWO, FIVE, ALL = (f'linkspan_end_to_end_seconds_bucket{{flow="orders",le="{le}"}}' for le in ("2", "5", "+Inf"))
IN_FLIGHT = 'linkspan_in_flight{flow="orders",destination="store"}'
LAG = 'linkspan_lag{flow="orders",partition="0"}'
OLDEST = 'linkspan_oldest_unfinished_seconds{flow="orders",partition="0"}'
BREAKER = 'linkspan_breaker_state{system="store",to="orders"}'
DEAD = 'linkspan_outcomes_total{flow="orders",destination="store",kind="dead_lettered"}'
HELD = 'linkspan_held_keys{flow="orders",partition="1"}'
LETTER = 'linkspan_dead_letter_oldest_seconds{flow="orders"}'
MISFIT = 'linkspan_partition_misfit{flow="orders",partition="1"}'
UNACCOUNTED = 'linkspan_unaccounted{flow="orders"}'
LEDGER_UNACCOUNTED = 'linkspan_ledger_unaccounted{flow="orders"}'
OVERDUE, WAITING = (f'linkspan_conversations{{flow="orders",state="{state}"}}' for state in ("overdue", "waiting"))
STEPPED = 'linkspan_ledger_stepped_timestamp_seconds{instance="a:1"}'
CERTIFICATE = 'linkspan_certificate_expires_timestamp_seconds{certificate="control"}'
KEY = 'linkspan_key_created_timestamp_seconds{use="content"}'
ARCHIVE_LAG = 'linkspan_archive_lag_seconds{flow="orders",what="events"}'
ARCHIVE_RETENTION = 'linkspan_archive_retention_seconds{flow="orders",what="events"}'
ARCHIVE_ROUND = 'linkspan_archive_success_timestamp_seconds{instance="a:1"}'
ARCHIVE_MISSED = 'linkspan_archive_missed_total{flow="orders",what="events"}'

CASES = [
    # 5 a second, Thursday at 10:00; the same at night, and on Saturday; 20 a second; nothing scraped at all
    Case("LinkspanRateLow", 10 * HOUR, {ACCEPTED: "0+300x700"}, ({},)),
    Case("LinkspanRateLow", 10 * HOUR, {}, ({},)),
    Case("LinkspanRateLow", 6 * HOUR + 5, {ACCEPTED: "0+300x700"}),
    Case("LinkspanRateLow", 22 * HOUR, {ACCEPTED: "0+300x1400"}),
    Case("LinkspanRateLow", 2 * DAY + 10 * HOUR, {ACCEPTED: "0+300x3600"}),
    Case("LinkspanRateLow", 10 * HOUR, {ACCEPTED: "0+1200x700"}),
    Case("LinkspanRateHigh", 20, {ACCEPTED: "0+66000x30"}, ({},)),
    Case("LinkspanRateHigh", 20, {ACCEPTED: "0+54000x30"}),
    Case("LinkspanRateHigh", 8, {ACCEPTED: "0+60x5 66000+66000x30"}),
    Case("LinkspanSpoolInUse", 5, {SPOOL: "3x10"}, (FLOW,)),
    Case("LinkspanSpoolInUse", 5, {SPOOL: "0x10"}),
    Case("LinkspanProcessDown", 5, {UP: "0x10"}, ({"job": "linkspan-egress", "instance": "a:1"},)),
    Case("LinkspanProcessDown", 5, {UP: "1x10", 'up{job="analysis",instance="b:1"}': "0x10"}),
    Case("LinkspanErrorRate", 20, {DELIVERED: "0+940x30", REJECTED: "0+60x30"}, (TO_STORE,)),
    Case("LinkspanErrorRate", 20, {DELIVERED: "0+960x30", REJECTED: "0+40x30"}),
    Case("LinkspanErrorRate", 20, {DELIVERED: "0+940x30", WITHHELD: "0+60x30", REJECTED: "0x30"}),
    Case("LinkspanErrorRate", 20, {DELIVERED: "0x30", REJECTED: "0x30"}),
    Case("LinkspanLatencyHigh", 20, {TWO: "0+90x30", FIVE: "0+100x30", ALL: "0+100x30"}, (FLOW,)),
    Case("LinkspanLatencyHigh", 20, {TWO: "0+96x30", FIVE: "0+100x30", ALL: "0+100x30"}),
    Case("LinkspanQueueDeep", 10, {IN_FLIGHT: "5000x20", LAG: "5001x20"}, (FLOW,)),
    Case("LinkspanQueueDeep", 10, {IN_FLIGHT: "5000x20", LAG: "5000x20"}),
    Case("LinkspanOldestUndelivered", 10, {OLDEST: "301x20"}, (FLOW,)),
    Case("LinkspanOldestUndelivered", 10, {OLDEST: "300x20"}),
    Case("LinkspanBreakerOpen", 5, {BREAKER: "2 1 2 1 2 2 2"}, ({"system": "store", "to": "orders"},)),
    Case("LinkspanBreakerOpen", 5, {BREAKER: "2 0 0 0 0 2 0"}),
    Case("LinkspanDeadLettersGrowing", 20, {DEAD: "0x12 1x20"}, (FLOW,)),
    Case("LinkspanDeadLettersGrowing", 40, {DEAD: "0x12 1x40"}),
    Case("LinkspanHeldKeys", 10, {HELD: "1x20"}, (FLOW,)),
    Case("LinkspanHeldKeys", 10, {HELD: "1x3 0x20"}),
    Case("LinkspanHeldKeysOld", 90, {HELD: "1x120", LETTER: "0+60x120"}, (FLOW,)),
    Case("LinkspanHeldKeysOld", 50, {HELD: "1x120", LETTER: "0+60x120"}),
    Case("LinkspanHeldKeysOld", 90, {HELD: "0x120", LETTER: "0+60x120"}),
    Case("LinkspanUnaccounted", 5, {UNACCOUNTED: "1x10", LEDGER_UNACCOUNTED: "0x10"}, (FLOW,)),
    Case("LinkspanUnaccounted", 5, {UNACCOUNTED: "0x10", LEDGER_UNACCOUNTED: "1x10"}, (FLOW,)),
    Case("LinkspanUnaccounted", 5, {UNACCOUNTED: "0x10", LEDGER_UNACCOUNTED: "0x10"}),
    Case("LinkspanPartitionMisfit", 5, {MISFIT: "1x10"}, (FLOW,)),
    Case("LinkspanPartitionMisfit", 5, {MISFIT: "0x10"}),
    Case("LinkspanAnswersOverdue", 5, {OVERDUE: "2x10"}, (FLOW,)),
    Case("LinkspanAnswersOverdue", 5, {OVERDUE: "0x10", WAITING: "5x10"}),
    Case("LinkspanLedgerStopped", 10, {STEPPED: "0x20"}, ({"instance": "a:1"},)),
    Case("LinkspanLedgerStopped", 10, {}, ({},)),
    Case("LinkspanLedgerStopped", 10, {STEPPED: "0+60x20"}),
    Case("LinkspanCertificateExpires", 5, {CERTIFICATE: f"{29 * 86400}x10"}, ({"certificate": "control"},)),
    Case("LinkspanCertificateExpires", 5, {CERTIFICATE: f"{31 * 86400}x10"}),
    Case("LinkspanKeyOld", 5, {KEY: f"-{91 * 86400}x10"}, ({"use": "content"},)),
    Case("LinkspanKeyOld", 5, {KEY: f"-{89 * 86400}x10"}),
    Case("LinkspanArchiveLate", 20, {ARCHIVE_LAG: "26000x30", ARCHIVE_RETENTION: "100000x30"}, (FLOW,)),
    Case("LinkspanArchiveLate", 20, {ARCHIVE_LAG: "24000x30", ARCHIVE_RETENTION: "100000x30"}),
    Case("LinkspanArchiveLate", 20, {ARCHIVE_LAG: "24000x30", ARCHIVE_RETENTION: "0x30"}),
    Case("LinkspanArchiveStopped", 90, {ARCHIVE_ROUND: "0x100"}, ({"instance": "a:1"},)),
    Case("LinkspanArchiveStopped", 90, {ARCHIVE_ROUND: "0+60x100"}),
    Case("LinkspanArchiveMissed", 5, {ARCHIVE_MISSED: "7x10"}, (FLOW | {"what": "events"},)),
    Case("LinkspanArchiveMissed", 5, {ARCHIVE_MISSED: "0x10"}),
]
