"""What the outcomes of a restored partition say of the events that its log has, each compared by its message id."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from linkspan.egress.partition.holds import Holds
from linkspan.egress.partition.ids import Ids
from linkspan.egress.partition.memory import Memory
from linkspan.kernel.records.epoch import OWNER, Epoch
from linkspan.kernel.records.event import hash64
from linkspan.kernel.records.fact import DEAD, FINISHING, HELD, Fact
from linkspan.kernel.records.hold import Hold
from linkspan.kernel.records.outcome import fact_of
from linkspan.kernel.records.position import Position
from linkspan.kernel.topics import Headers

_ABSENT, _UNFINISHED, _FINISHED = 0, 1, 2


class Events:
    """Of the log from ``first`` to before ``end``: whether an offset has one, and 64 bits of its message id."""

    def __init__(self, first: int, end: int) -> None:
        self.first, self.end = first, max(first, end)
        self.standing = bytearray(self.end - first)
        self._ids = array("Q", bytes(8 * (self.end - first)))

    def add(self, offset: int, message_id: bytes | None) -> None:
        self.standing[offset - self.first] = _UNFINISHED
        self._ids[offset - self.first] = 0 if message_id is None else hash64(message_id)

    def has(self, offset: int) -> bool:
        return self.first <= offset < self.end and self.standing[offset - self.first] != _ABSENT

    def is_it(self, offset: int, message_id: int) -> bool:
        return self._ids[offset - self.first] == message_id

    def elsewhere(self, ids: Mapping[int, int]) -> Counter[int]:
        """How far events stand from where outcomes (offset -> id) name them, and how many of them."""
        at = {message_id: offset for offset, message_id in ids.items()}
        found = ((self.first + place, at[one]) for place, one in enumerate(self._ids) if one in at)
        return Counter(there - named for there, named in found)

    def finish(self, offset: int, end: int | None = None) -> None:
        for one in range(max(offset, self.first), min(offset + 1 if end is None else end, self.end)):
            if self.standing[one - self.first] == _UNFINISHED:
                self.standing[one - self.first] = _FINISHED

    def unfinish(self, offset: int) -> None:
        if self.has(offset):
            self.standing[offset - self.first] = _UNFINISHED

    def is_unfinished(self, offset: int) -> bool:
        return self.first <= offset < self.end and self.standing[offset - self.first] == _UNFINISHED

    @property
    def unfinished(self) -> int:
        return self.standing.count(_UNFINISHED)

    def position(self) -> tuple[int, tuple[tuple[int, int], ...]]:
        """The first unfinished event, or the end, and the ranges above it that hold none."""
        found = self.standing.find(_UNFINISHED)
        if found < 0:
            return self.end, ()
        ranges, at = [], found
        while (start := self._next(at, unfinished=False)) < len(self.standing):
            at = self._next(start, unfinished=True)
            ranges.append((self.first + start, self.first + at))
        return self.first + found, tuple(ranges)

    def _next(self, at: int, *, unfinished: bool) -> int:
        standing = self.standing
        if unfinished:
            found = standing.find(_UNFINISHED, at)
            return len(standing) if found < 0 else found
        while at < len(standing) and standing[at] == _UNFINISHED:
            at += 1
        return at


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits in ``parked``, by its latest outcome, whose ``value`` says why. ``hold``: behind, or as, the
    dead letter of its key."""

    kind: str
    key: bytes | None
    hold: bool
    value: bytes | None


class Known:
    """Told all outcomes of the log, in order. ``position`` and ``holds``: as ``state`` has them; ``outcomes_end``:
    where the log ends, so that a state that is ahead of it is not built upon.

    ``copies``: event offsets that ``parked`` has; ``settled``: those of them whose latest outcome ends their waiting.
    ``lost``: message ids of what outcomes name and the events have not, by offset; ``foreign``: the same where another
    message stands (64 bits of the id), and was not found so before. ``highest``: the highest event offset that anything
    names.
    """

    def __init__(
        self,
        events: Events,
        position: Position,
        holds: Mapping[bytes, Hold],
        outcomes_end: int,
        ids: Ids,
        copies: Collection[int] = (),
    ) -> None:
        self.events, self._position, self._old_holds = events, position, dict(holds)
        self._copies = copies
        self.settled: set[int] = set()
        self.ahead = position.outcomes > outcomes_end
        self._since = Holds(holds, position.redriven)
        self._all = Memory(Position(), Holds(), ids)
        self._epoch = Epoch()
        self.highest_epoch = position.epoch
        self.waiting: dict[int, Waiting] = {}
        self.lost: dict[int, str] = {}
        self.foreign: dict[int, int] = {}
        named = [position.events - 1, *(end - 1 for _, end in position.finished)]
        self.highest = max(named + [max(one.dead, one.last) for one in holds.values()])
        self.highest_control = position.control - 1

    def outcome(self, record: Any) -> None:
        fact = fact_of(record)
        if record.offset >= self._position.outcomes and not self.ahead:
            self._epoch.in_force = max(self._epoch.in_force, self._position.outcomes_epoch)
        self.highest_epoch = max(self.highest_epoch, fact.epoch)
        self.highest, self.highest_control = max(self.highest, fact.offset), max(self.highest_control, fact.control)
        if not self._epoch.valid(fact.kind, fact.epoch) or fact.kind == OWNER or fact.plan:
            return
        headers = dict(record.headers)
        if (until := headers.get(Headers.UNTIL, b"")).isdigit():
            self.events.finish(fact.offset, int(until))
            return
        if self.events.has(fact.offset) and fact.id is not None and not self.events.is_it(fact.offset, fact.id):
            if record.offset >= self._position.checked:
                self.foreign[fact.offset] = fact.id
            return
        if fact.kind in FINISHING:
            self._finished(fact, headers.get(Headers.MESSAGE_ID, b"").decode("utf-8", "replace"), record.value)
        self._all.fold(record.offset, fact)
        if record.offset >= self._position.outcomes and not self.ahead:
            self._since.fold(fact)

    def _finished(self, fact: Fact, message_id: str, value: bytes | None) -> None:
        if fact.offset >= self.events.first and not self.events.has(fact.offset):
            self.lost[fact.offset] = message_id
        self.events.finish(fact.offset)
        if fact.kind in (DEAD, HELD):
            self.waiting[fact.offset] = Waiting(fact.kind, fact.key, fact.hold, value)
            self.settled.discard(fact.offset)
        else:
            self.waiting.pop(fact.offset, None)
            if fact.offset in self._copies:
                self.settled.add(fact.offset)

    @property
    def moved(self) -> int:
        """By how much the events stand elsewhere than outcomes name them; 0 where they do not."""
        if not self.foreign:
            return 0
        by, count = next(iter(self.events.elsewhere(self.foreign).most_common(1)), (0, 0))
        return by if 2 * count > len(self.foreign) else 0

    def holds(self) -> Holds:
        """As they are after all outcomes. What ``state`` has of events that are gone from the log by their age is kept
        where its outcomes are, too."""
        if not self.ahead:
            return self._since
        found = self._all.holds
        kept = dict(found.items())
        old = {key: hold for key, hold in self._old_holds.items() if key not in kept and hold.dead < self.events.first}
        return Holds(kept | old, found.redriven | {one for one in self._position.redriven if one < self.events.first})

    @property
    def control(self) -> int:
        """All commands below are carried out, as far as outcomes say; of a state that is not ahead as it says."""
        return self._all.control if self.ahead else max(self._all.control, self._position.control)

    @property
    def charged(self) -> tuple[tuple[int, int], ...]:
        events, _ = self.events.position()
        return self._all.position(events).charged

    @property
    def ids(self) -> Ids:
        return self._all.ids
