"""What goes from ``parked`` back into the lanes: followers of released keys, and letters that held none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from linkspan.egress.partition.holds import Holds
from linkspan.egress.partition.lanes import Lanes, Message

#: Messages of one key, and of all keys, that wait in their lanes at most; below half of it a key asks for more.
_KEY, _ALL = 50, 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of ``key``: copies of the event offsets above ``after``, up to ``last``, which stand in ``parked`` at or above
    ``start``; at most ``count``. ``begun`` tells one release of the key from the next, which may begin further back."""

    key: bytes
    after: int
    last: int
    start: int
    count: int
    begun: int


class Releases:
    """What was on its way out under a former owner may have arrived, and so may all events below ``restored``, which
    are of a restored log."""

    def __init__(self, holds: Holds, lanes: Lanes, restored: int = 0) -> None:
        self._holds, self._lanes, self._restored = holds, lanes, restored
        self._queued_to: dict[bytes, int] = {}
        self._begun: dict[bytes, int] = {}
        self._begins = 0
        self._in_lane: Counter[bytes] = Counter()
        self._parking: Counter[bytes] = Counter()
        self._opening: set[bytes] = set()
        self._marked: set[bytes] = set()
        self._alone: set[int] = set()
        self._alone_marked = frozenset(holds.redriven)
        for key in holds.draining():
            self.begin(key)
            self._marked.add(key)

    def begin(self, key: bytes) -> None:
        self._queued_to[key] = self._holds[key].drained
        self._begins += 1
        self._begun[key] = self._begins

    def end(self, key: bytes) -> None:
        self._queued_to.pop(key, None)
        self._begun.pop(key, None)
        self._in_lane.pop(key, None)
        self._opening.discard(key)
        self._marked.discard(key)

    def parks(self, key: bytes) -> bool:
        """A message of the key that arrives now waits in ``parked``: it is held, or not all that waits is queued."""
        if key not in self._holds:
            return False
        queued_to = self._queued_to.get(key)
        return queued_to is None or queued_to < self._holds[key].last or self._parking[key] > 0

    def parking(self, key: bytes) -> None:
        self._parking[key] += 1

    def parked(self, key: bytes) -> None:
        self._parking[key] -= 1
        if not self._parking[key]:
            del self._parking[key]

    def wanted(self) -> list[Wanted]:
        room = _ALL - self._in_lane.total()
        found: list[Wanted] = []
        for key, after in self._queued_to.items():
            hold, queued = self._holds[key], self._in_lane[key]
            if room <= 0:
                break
            if after < hold.last and 2 * queued <= _KEY:
                count = min(room, _KEY - queued)
                found.append(Wanted(key, after, hold.last, hold.start, count, self._begun[key]))
                room -= count
        return found

    def wanted_alone(self) -> list[int]:
        """Event offsets of letters that held no key."""
        return sorted(self._holds.redriven - self._alone)[: max(0, _ALL - len(self._alone))]

    @property
    def busy(self) -> bool:
        return bool(self._queued_to or self._holds.redriven)

    def queue(self, wanted: Wanted, messages: Sequence[Message]) -> None:
        """They follow each other; nothing happens if the key is held again meanwhile."""
        if self._queued_to.get(wanted.key) != wanted.after or not messages:
            return
        messages[0].redelivery |= wanted.key in self._marked
        self._marked.discard(wanted.key)
        for message in messages:
            message.redelivery |= message.offset < self._restored
            message.released = True
            self._lanes.add(message)
        self._queued_to[wanted.key] = messages[-1].offset
        self._in_lane[wanted.key] += len(messages)

    def queue_alone(self, message: Message) -> None:
        if message.offset in self._holds.redriven - self._alone:
            message.released = message.alone = True
            message.redelivery |= message.offset in self._alone_marked or message.offset < self._restored
            self._alone.add(message.offset)
            self._lanes.add(message)

    def through(self, message: Message) -> None:
        """A released message is finished."""
        self._alone.discard(message.offset)
        if message.key in self._queued_to and not message.alone:
            self._in_lane[message.key] -= 1

    def opens(self, key: bytes) -> bool:
        """True once: all that waited is through, and nothing is on its way into ``parked``."""
        if key not in self._queued_to or key in self._opening or self._parking[key]:
            return False
        hold = self._holds[key]
        if hold.drained < hold.last:
            return False
        self._opening.add(key)
        return True
