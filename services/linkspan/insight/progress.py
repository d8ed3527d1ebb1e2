"""Which record of each partition comes next. Pure.

Nothing but that one is taken: Faust may hand over a later one first, and commit past one that it never handed over.
Where to go on after a restart stands in the tables, beside what it led to.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Topic and partition.
Place = tuple[str, int]
#: Seconds between two requests for what was passed over.
_AGAIN = 2.0
#: So often; then the log itself lacks it (a transaction's marker, or retention).
_TIMES = 5


class _Missing:
    __slots__ = ("asked_at", "times")

    def __init__(self) -> None:
        self.asked_at, self.times = float("-inf"), 0


class Progress:
    """``begin`` each partition that came; ``next`` are the offsets."""

    def __init__(self) -> None:
        self.next: dict[Place, int] = {}
        self._moved: set[Place] = set()
        self._missing: dict[Place, _Missing] = {}

    def clear(self) -> None:
        self.next, self._moved, self._missing = {}, set(), {}

    def begin(self, place: Place, offset: int) -> None:
        self.next[place] = offset

    def admits(self, place: Place, offset: int) -> bool:
        """It is the next one. A later one is asked for again after those before it."""
        expected = self.next.get(place)
        if expected is None or offset < expected:
            return False
        if offset > expected and self._missing.setdefault(place, _Missing()).times < _TIMES:
            return False
        self.next[place] = offset + 1
        self._moved.add(place)
        self._missing.pop(place, None)
        return True

    def passed_over(self, now: float) -> list[tuple[Place, int]]:
        """From where on partitions have to be read again; ``now``: seconds."""
        found = []
        for place, missing in self._missing.items():
            if now - missing.asked_at >= _AGAIN:
                missing.asked_at, missing.times = now, missing.times + 1
                found.append((place, self.next[place]))
        return found

    def moved(self) -> Iterable[tuple[Place, int]]:
        """Since the last ``kept``."""
        return [(place, self.next[place]) for place in sorted(self._moved)]

    def kept(self) -> None:
        self._moved = set()
