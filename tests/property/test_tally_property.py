"""The accounting of a partition is what a naive reading of the rules says."""

from hypothesis import given
from hypothesis import strategies as st

from linkspan.readmodel.tally import OWNER, REDRIVEN, STATUSES, PartitionTally

KINDS = [*STATUSES, "attempt_failed", "opened", REDRIVEN, OWNER]
END = 12
outcomes = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, END + 2), st.integers(0, 3)), max_size=40)


@given(st.sets(st.integers(0, END - 1)), outcomes, st.integers(0, END))
def test_every_event_is_in_one_term_by_its_latest_valid_outcome(
    events: set[int], log: list[tuple[str, int, int]], position: int
) -> None:
    tally = PartitionTally(0, END)
    for offset in sorted(events):
        tally.event(offset)
    status: dict[int, str] = {}
    in_force = 0
    for kind, offset, epoch in log:
        tally.outcome(kind, offset, epoch)
        if kind == OWNER:
            in_force = max(in_force, epoch)
        elif epoch >= in_force and kind in {*STATUSES, REDRIVEN}:
            status[offset] = kind
    found = tally.counts(position)
    missing = [offset for offset in sorted(events) if offset not in status and offset < position]
    waiting = [offset for offset in events if offset not in status and offset >= position]
    again = [offset for offset in events if status.get(offset) == REDRIVEN]
    assert found.accepted == len(events)
    assert found.in_flight == len(waiting) + len(again)
    assert found.statuses == {kind: sum(status.get(offset) == kind for offset in events) for kind in STATUSES}
    assert list(tally.unaccounted(position)) == missing
    assert found.unaccounted == len(missing)
    assert found.accepted == found.in_flight + sum(found.statuses.values()) + found.unaccounted
    assert found.balanced == (not missing)


def test_a_stale_outcome_is_a_repeat_and_changes_nothing() -> None:
    tally = PartitionTally(0, 1)
    tally.event(0)
    tally.outcome(OWNER, -1, 2)
    tally.outcome("delivered", 0, 2)
    tally.outcome("dead_lettered", 0, 1)
    found = tally.counts(1)
    assert (found.statuses["delivered"], found.statuses["dead_lettered"], found.repeats) == (1, 0, 1)


def test_what_retention_took_before_its_outcome_is_not_balanced() -> None:
    tally = PartitionTally(10, 10)
    tally.expect_from(7)
    tally.outcome("delivered", 8, 0)
    found = tally.counts(7)
    assert (found.gone, found.balanced) == (2, False)
