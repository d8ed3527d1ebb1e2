"""Windows: exact however often the log is read again, and added up over partitions and workers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from linkspan.ingress.accept.standing import Standing
from linkspan.insight.windows import KEPT, PANE, SECOND, PartitionWindows
from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.records.latency import bucket_of, quantile
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas
from linkspan.readmodel.windows import STALE, Window, flow_windows, window_key

NOW = 1_800_000_000 * SECOND
Rows = dict[bytes, bytes]

#: (what, seconds ago, epoch or latency) of records in the order of their log.
LOG = st.lists(
    st.tuples(st.sampled_from(["event", "owner", "delivered", "held"]), st.integers(0, 100), st.integers(0, 5)),
    max_size=60,
)


def told(windows: PartitionWindows, log: list[tuple[str, int, int]], start: int) -> None:
    for offset, (what, ago, number) in enumerate(log):
        at = NOW - ago * SECOND
        if offset < start:
            continue
        if what == "event":
            windows.event(offset, at, NOW)
        elif what == "owner":
            windows.owner(offset, number)
        elif windows.valid(offset, number):
            windows.outcome(offset, what, at, number * 1_000 if what == "delivered" else None, NOW)


def kept(windows: PartitionWindows, rows: Rows, share: float, dice: random.Random) -> None:
    """A crash leaves only some of the changes in the changelog."""
    for key, value in windows.changes().items():
        if dice.random() < share and value is not None:
            rows[key] = value


@settings(max_examples=200)
@given(LOG, st.lists(st.tuples(st.integers(0, 60), st.floats(0, 1)), max_size=4), st.integers())
def test_reading_again_from_anywhere_after_a_crash_changes_no_number(
    log: list[tuple[str, int, int]], crashes: list[tuple[int, float]], seed: int
) -> None:
    straight = PartitionWindows()
    told(straight, log, 0)
    rows, committed, dice = dict[bytes, bytes](), 0, random.Random(seed)
    for end, share in crashes:
        windows = PartitionWindows()
        windows.load(rows.items())
        told(windows, log[: max(end, committed)], committed)
        kept(windows, rows, share, dice)
        if share == 1:
            committed = max(end, committed)
    last = PartitionWindows()
    last.load(rows.items())
    told(last, log, committed)
    for seconds in (60, 300):
        assert last.window(seconds, NOW) == straight.window(seconds, NOW)


def test_a_window_holds_the_pane_under_way_and_those_before_it() -> None:
    windows, now = PartitionWindows(), NOW + 3 * SECOND
    for offset, ago in enumerate((0, 3, 52, 54, 299, 900)):
        windows.event(offset, now - ago * SECOND, now)
    assert windows.window(60, now).counts["accepted"] == 3
    assert windows.window(60, now).since == NOW - 50 * SECOND
    assert windows.window(300, now).counts["accepted"] == 4
    assert windows.window(900, now).counts["accepted"] == 5


def test_panes_are_forgotten_and_their_rows_removed() -> None:
    windows = PartitionWindows()
    windows.event(0, NOW, NOW)
    windows.kept()
    windows.forget(NOW + KEPT + PANE)
    assert list(windows.changes().values()) == [None]
    windows.event(1, NOW, NOW + KEPT + PANE)
    assert windows.window(900, NOW).counts["accepted"] == 0


def test_a_row_of_another_table_is_passed_over() -> None:
    windows = PartitionWindows()
    windows.load([(b"epochs", b"\xff\x00"), (b"12345678", b"no pane"), (b"orders/x", b"\x93\x01\x02\x03")])
    assert windows.window(60, NOW).counts == {}


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_a_quantile_is_at_most_five_percent_off(share: float) -> None:
    dice = random.Random(1)
    latencies = sorted(int(dice.lognormvariate(10, 2)) + 1 for _ in range(20_000))
    counts: dict[int, int] = {}
    for latency in latencies:
        counts[bucket_of(latency)] = counts.get(bucket_of(latency), 0) + 1
    found = quantile(counts, share)
    assert found is not None
    assert found == pytest.approx(latencies[int(share * len(latencies)) - 1] / 1e6, rel=0.05)
    assert quantile({}, share) is None


def record(worker: str, at: int, partitions: list[int], delivered: int, bucket: int) -> dict[str, object]:
    window = Window(60, at - 55 * SECOND, at)
    window.counts["delivered"], window.latency[bucket] = delivered, delivered
    return {
        "flow": "f",
        "worker": worker,
        "at": at,
        "partitions": partitions,
        "behind": 1,
        "windows": [window.record()],
    }


def test_the_workers_figures_add_up_and_what_is_old_or_told_twice_does_not_count() -> None:
    fast, slow = bucket_of(1_000), bucket_of(1_000_000)
    records = [
        record("a", NOW, [0, 1], 90, fast),
        record("b", NOW - SECOND, [2], 10, slow),
        record("was-b", NOW - 2 * SECOND, [2, 3], 7, slow),
        record("dead", NOW - STALE - 1, [4], 1_000, slow),
    ]
    found = flow_windows(records, NOW)["f"]
    assert (found.partitions, found.behind) == ({0, 1, 2}, 2)
    window = found.windows[60]
    assert window.counts["delivered"] == 100
    assert window.quantile(0.5) == pytest.approx(0.001, rel=0.05)
    assert window.quantile(0.95) == pytest.approx(1, rel=0.05)


async def test_ingress_does_not_take_windows_for_the_status_of_a_replica() -> None:
    standing = Standing(RecordCodec(SchemaCatalog(packaged_schemas()), "Status"))
    with capture_logs() as said:
        standing.read(window_key("f", "a"), b"anything")
    assert not said


def test_the_error_ratio_counts_attempts() -> None:
    window = Window(60, 0, 1)
    assert window.error_ratio == 0
    window.counts.update({"delivered": 6, "attempt_failed": 3, "dead_lettered": 1, "held": 50})
    assert window.error_ratio == 0.4
