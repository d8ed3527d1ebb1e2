"""The audit trail: who did what, when and why, and what came of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from linkspan.control.fold import ControlState
from linkspan.control.tail import ControlTail
from linkspan.control.verdict import Verdict
from linkspan.kernel.commands import Command
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.kafka.reading import read_all

#: Kept in memory, about a kilobyte each; what is older is read again from the topic when somebody asks.
_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Given:
    """A command as it stands in the topic, with the verdict that all replicas come to."""

    offset: int
    command: Command
    verdict: Verdict


class Trail:
    def __init__(self, clients: KafkaClients, tail: ControlTail, kept: int = _KEPT) -> None:
        self._clients, self._tail = clients, tail
        self._newest: deque[Given] = deque(maxlen=kept)
        self._complete = True
        tail.listen(self._heard)

    def _heard(self, offset: int, command: Command, verdict: Verdict) -> None:
        self._complete = self._complete and len(self._newest) < (self._newest.maxlen or 0)
        self._newest.append(Given(offset, command, verdict))

    async def page(self, before: int, count: int, fits: Callable[[Command], bool]) -> list[Given]:
        """The ``count`` newest that fit, below the offset ``before``, the newest first. Raises KafkaError."""
        found = list(self._fitting(before, count, fits))
        if len(found) < count and not self._complete:
            first = self._newest[0].offset
            found += reversed(await self._again(min(before, first), count - len(found), fits))
        return found

    def _fitting(self, before: int, count: int, fits: Callable[[Command], bool]) -> Iterator[Given]:
        for one in reversed(self._newest):
            if count <= 0:
                return
            if one.offset < before and fits(one.command):
                count -= 1
                yield one

    async def _again(self, end: int, count: int, fits: Callable[[Command], bool]) -> list[Given]:
        """From the topic's beginning, as a verdict follows from all that was before."""
        state, found = ControlState(), deque[Given](maxlen=count)

        def take(record: Any) -> None:
            command = self._tail.read(record)
            if command is not None:
                verdict = state.fold(command)
                if fits(command):
                    found.append(Given(record.offset, command, verdict))

        reader = self._clients.reader()
        try:
            await reader.start()
            await read_all(reader, self._tail.partition, 0, end, take)
        finally:
            await stop_consumer(reader)
        return list(found)
