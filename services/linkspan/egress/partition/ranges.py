"""A set of offsets that mostly follow each other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """Kept as disjoint ranges in order, each (first, end) with ``end`` excluded; neighbours are merged."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._ends: list[int] = []
        for first, end in ranges:
            self.add(first, end)

    def __contains__(self, offset: int) -> bool:
        at = bisect_right(self._firsts, offset) - 1
        return at >= 0 and offset < self._ends[at]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._ends, strict=True)

    def add(self, first: int, end: int | None = None) -> None:
        """One offset, or all from ``first`` to before ``end``."""
        end = first + 1 if end is None else end
        if first >= end:
            return
        low, high = bisect_left(self._ends, first), bisect_right(self._firsts, end)
        if low < high:
            first, end = min(first, self._firsts[low]), max(end, self._ends[high - 1])
        self._firsts[low:high] = [first]
        self._ends[low:high] = [end]

    def forget_below(self, offset: int) -> None:
        gone = bisect_right(self._ends, offset)
        del self._firsts[:gone], self._ends[:gone]
        if self._firsts and self._firsts[0] < offset:
            self._firsts[0] = offset
