"""Which fetched offsets are unfinished, and from where a successor must read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """Fetching stops at ``messages`` unfinished ones, or when they span ``span`` offsets."""

    messages: int = 1_000
    span: int = 50_000


class Window:
    """Offsets in the order they were fetched. They have gaps, so "last + 1" is never a position."""

    def __init__(self, limits: WindowLimits) -> None:
        self.limits = limits
        self._fetched: deque[tuple[int, int]] = deque()
        self._finished: set[int] = set()

    def __len__(self) -> int:
        """Unfinished messages."""
        return len(self._fetched) - len(self._finished)

    def add(self, offset: int, accepted_at: int = 0) -> None:
        self._fetched.append((offset, accepted_at))

    def finish(self, offset: int) -> None:
        self._finished.add(offset)
        while self._fetched and self._fetched[0][0] in self._finished:
            self._finished.remove(self._fetched.popleft()[0])

    def oldest(self) -> int | None:
        """The oldest unfinished fetched offset."""
        return self._fetched[0][0] if self._fetched else None

    def oldest_accepted(self) -> int | None:
        """When the oldest unfinished one was accepted, as ``add`` was told."""
        return self._fetched[0][1] if self._fetched else None

    def span(self) -> int:
        return self._fetched[-1][0] - self._fetched[0][0] + 1 if self._fetched else 0

    def has_room(self) -> bool:
        return len(self) < self.limits.messages and self.span() < self.limits.span

    def has_much_room(self) -> bool:
        """Half of it is free: worth fetching again after it was full."""
        return 2 * len(self) <= self.limits.messages and 2 * self.span() <= self.limits.span
