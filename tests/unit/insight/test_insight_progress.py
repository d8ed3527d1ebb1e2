"""Each record is taken once and in its turn, whatever Faust hands over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from linkspan.insight.progress import Progress

PLACE = ("events", 0)


@given(st.lists(st.integers(0, 20), max_size=60))
def test_only_the_next_record_is_taken(offsets: list[int]) -> None:
    progress = Progress()
    progress.begin(PLACE, 3)
    taken = [offset for offset in offsets if progress.admits(PLACE, offset)]
    assert taken == list(range(3, 3 + len(taken)))
    assert progress.next[PLACE] == 3 + len(taken)


def test_what_was_passed_over_is_asked_for_until_it_comes() -> None:
    progress = Progress()
    progress.begin(PLACE, 0)
    assert not progress.admits(PLACE, 2)
    assert progress.passed_over(0) == [(PLACE, 0)]
    assert progress.passed_over(1) == []
    assert progress.passed_over(2) == [(PLACE, 0)]
    assert progress.admits(PLACE, 0)
    assert progress.passed_over(9) == []
    assert progress.moved() == [(PLACE, 1)]


def test_what_the_log_itself_lacks_is_given_up() -> None:
    progress, now = Progress(), 0
    progress.begin(PLACE, 0)
    while not progress.admits(PLACE, 7):
        progress.passed_over(now := now + 2)
        assert now < 30
    assert progress.admits(PLACE, 8)


def test_a_partition_that_is_not_held_gives_nothing() -> None:
    progress = Progress()
    assert not progress.admits(PLACE, 0)
    progress.begin(PLACE, 0)
    progress.clear()
    assert not progress.admits(PLACE, 0)
    assert progress.passed_over(5) == []
