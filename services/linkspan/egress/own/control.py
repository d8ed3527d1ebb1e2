"""Commands as owners get them: what came before a takeover is read then, what comes later the process's tail tells."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from linkspan.control.verdict import Verdict
from linkspan.kernel.commands import OF_PARTITION, Command


class Inbox:
    """Commands for one partition, each once and in order; ``some`` is called when there are new ones."""

    def __init__(self, flow: str, partition: int, some: Callable[[], None]) -> None:
        self._mine = (flow, partition)
        self._some = some
        self._early: list[tuple[int, Command]] = []
        self._expected: int | None = None
        self.waiting: deque[tuple[int, Command]] = deque()

    @property
    def heard_below(self) -> int:
        """All commands below this offset were heard; 0 before the beginning."""
        return self._expected or 0

    def hear(self, offset: int, command: Command, _verdict: Verdict) -> None:
        """From the tail, which may be ahead of what was read, or behind."""
        if self._expected is None:
            self._early.append((offset, command))
        else:
            self._take(offset, command)

    def begin(self, start: int, before: Iterable[tuple[int, Command]], end: int) -> None:
        """``before`` stands from ``start`` to ``end``; then what was heard follows."""
        self._expected = start
        for offset, command in before:
            self._take(offset, command)
        self._expected = max(start, end)
        early, self._early = self._early, []
        for offset, command in early:
            self._take(offset, command)

    def _take(self, offset: int, command: Command) -> None:
        if self._expected is not None and offset >= self._expected:
            self._expected = offset + 1
            if (command.flow, command.partition) == self._mine and command.kind in OF_PARTITION:
                self.waiting.append((offset, command))
                self._some()
