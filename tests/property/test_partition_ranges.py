"""Ranges against a plain set of offsets."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from linkspan.egress.partition.ranges import Ranges

STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 40), st.integers(1, 6)), max_size=40)


@given(STEPS)
def test_ranges_hold_what_was_added_and_not_forgotten_as_disjoint_ranges_in_order(
    steps: list[tuple[bool, int, int]],
) -> None:
    ranges, plain = Ranges(), set[int]()
    for add, offset, length in steps:
        if add:
            ranges.add(offset, offset + length)
            plain |= set(range(offset, offset + length))
        else:
            ranges.forget_below(offset)
            plain = {one for one in plain if one >= offset}
        kept = list(ranges)
        assert {one for one in range(60) if one in ranges} == plain
        assert all(first < end for first, end in kept)
        assert all(end < first for (_, end), (first, _) in itertools.pairwise(kept)), "neighbours are merged"
    assert list(Ranges(ranges)) == list(ranges)
