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
        self._full = self._beyond = False

    def __len__(self) -> int:
        """Unfinished messages."""
        return len(self._fetched) - len(self._finished)

    def add(self, offset: int, accepted_at: int = 0) -> None:
        self._fetched.append((offset, accepted_at))
        self._beyond = False

    def finish(self, offset: int) -> None:
        self._finished.add(offset)
        while self._fetched and self._fetched[0][0] in self._finished:
            self._finished.remove(self._fetched.popleft()[0])

    def oldest(self, otherwise: int) -> int:
        """The oldest unfinished fetched offset, where there is one."""
        return self._fetched[0][0] if self._fetched else otherwise

    def oldest_accepted(self) -> int | None:
        """When the oldest unfinished one was accepted, as ``add`` was told."""
        return self._fetched[0][1] if self._fetched else None

    def span(self) -> int:
        return self._fetched[-1][0] - self._fetched[0][0] + 1 if self._fetched else 0

    def wants_more(self) -> bool:
        """Once full, it asks again when half of it is free; or for one."""
        self._full = not (self.has_much_room() if self._full else self.has_room())
        return not self._full or (self._beyond and len(self) < self.limits.messages)

    def room(self) -> int:
        """Messages that one fetch may bring at most."""
        return 1 if self._full else max(1, self.limits.messages - len(self))

    def one_beyond(self) -> None:
        """A message failed: though it spans the limit, one more may come, since only another one that is taken tells
        whether it failed for the destination or for itself."""
        self._beyond = True

    def has_room(self) -> bool:
        return len(self) < self.limits.messages and self.span() < self.limits.span

    def has_much_room(self) -> bool:
        """Half of it is free: worth fetching again after it was full."""
        return 2 * len(self) <= self.limits.messages and 2 * self.span() <= self.limits.span
