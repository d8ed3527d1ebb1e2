"""What became of each planned record is what a naive reading of the rules says."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from linkspan.kernel.records.plan import (
    CANCELLED,
    DELIVERED,
    DISPOSITIONS,
    GONE,
    HELD,
    NEWER_INSIDE,
    NEWER_OUTSIDE,
    OPEN,
    SKIPPED,
    UNDECODABLE,
    Planned,
    ReplayOptions,
    Stood,
    unsent,
)
from linkspan.replay.tally import PartTally

END = 10
stood = st.builds(
    Stood,
    st.sampled_from([OPEN, DELIVERED, HELD, UNDECODABLE, GONE]),
    st.sampled_from([0, NEWER_INSIDE, NEWER_OUTSIDE]),
)
options = st.builds(ReplayOptions, force=st.booleans(), allow_superseded=st.booleans(), to=st.sampled_from(["", "lab"]))
ones = st.tuples(
    st.sampled_from([*DISPOSITIONS, "attempt_failed", "owner"]), st.integers(0, END + 1), st.integers(0, 3), st.just(-1)
)
ranges = st.tuples(
    st.sampled_from([SKIPPED, CANCELLED]), st.integers(0, END), st.integers(0, 3), st.integers(0, END + 2)
)
logs = st.lists(st.tuples(st.one_of(ones, ranges), st.booleans()), max_size=40)


@given(st.dictionaries(st.integers(0, END), stood), options, st.integers(0, 2), logs)
def test_the_first_valid_disposition_of_a_planned_record_counts_and_ranges_fill_what_is_open(
    plan: dict[int, Stood], how: ReplayOptions, epoch: int, log: list[tuple[tuple[str, int, int, int], bool]]
) -> None:
    tally = PartTally((Planned(offset, plan[offset].code, -1, 0) for offset in sorted(plan)), how, epoch)
    valid: dict[int, list[str]] = {offset: [] for offset in plan}
    strays, in_force = 0, epoch
    for (kind, offset, said, until), ours in log:
        tally.outcome(kind, offset, said, until, ours=ours)
        if said < in_force:
            continue
        in_force = said if kind == "owner" else in_force
        if not ours or kind == "owner":
            continue
        if kind in (SKIPPED, CANCELLED):
            for one in range(offset, max(until, offset + 1)):
                end = CANCELLED if kind == CANCELLED else unsent(plan[one], how) if one in plan else None
                if end is not None and one in plan and not valid[one]:
                    valid[one].append(end)
        elif kind in DISPOSITIONS:
            valid.get(offset, []).append(kind)
            strays += offset not in plan
    firsts = Counter(found[0] for found in valid.values() if found)
    assert tally.dispositions == firsts
    assert tally.none == sum(not found for found in valid.values())
    assert tally.once == sum(len(found) == 1 for found in valid.values())
    assert tally.repeats == sum(max(0, len(found) - 1) for found in valid.values())
    assert tally.strays == strays
    assert sum(tally.dispositions.values()) + tally.none == tally.records == len(plan)


def test_what_a_former_owner_says_after_its_successor_began_is_neither_a_disposition_nor_a_repeat() -> None:
    tally = PartTally([Planned(4, 0, -1, 0)], ReplayOptions())
    tally.outcome("owner", -1, 2, ours=False)
    tally.outcome("failed", 4, 1)
    assert (tally.none, tally.repeats) == (1, 0)
    tally.outcome("delivered", 4, 2)
    tally.outcome("delivered", 4, 1)
    assert (tally.dispositions, tally.once, tally.repeats) == (Counter(delivered=1), 1, 0)
