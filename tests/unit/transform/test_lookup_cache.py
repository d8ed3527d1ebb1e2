"""What lookups remember: no more than they may, no longer than they may, and what is read stays."""

from hypothesis import given
from hypothesis import strategies as st

from linkspan.transform.cache import FoundCache


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_read_makes_an_entry_young_again() -> None:
    clock = Clock()
    cache = FoundCache(2, 10, clock)
    cache.put("a", 1)
    for _ in range(5):
        clock.now += 9
        assert cache.get("a", None) == 1
    clock.now += 10
    assert cache.get("a", None) is None
    assert len(cache) == 0


def test_the_entry_that_was_not_read_for_longest_goes_first() -> None:
    cache = FoundCache(2, 10, Clock())
    cache.put("a", 1)
    cache.put("b", 2)
    cache.get("a", None)
    cache.put("c", 3)
    assert [cache.get(key, None) for key in "abc"] == [1, None, 3]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.integers(0, 6))))
def test_it_agrees_with_a_list_that_is_searched(steps: list[tuple[str, bool, int]]) -> None:
    clock = Clock()
    cache, kept = FoundCache(3, 10, clock), list[tuple[str, float]]()
    for key, write, later in steps:
        clock.now += later
        kept = [(name, at) for name, at in kept if clock.now - at < 10]
        there = key in dict(kept)
        if write:
            cache.put(key, key)
        else:
            assert (cache.get(key, None) == key) == there
        if write or there:
            kept = [*((name, at) for name, at in kept if name != key), (key, clock.now)][-3:]
        assert len(cache) <= 3
