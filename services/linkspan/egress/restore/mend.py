"""What becomes of the copies in ``parked`` and of the held keys of a restored partition. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from linkspan.egress.restore.known import Known
from linkspan.kernel.records.fact import DEAD
from linkspan.kernel.records.hold import Hold
from linkspan.kernel.records.parked import Copy


@dataclass(slots=True)
class Mending:
    """Event offsets, but for ``holds``: all that ``state`` is to have.

    ``remade``: copied from their events, as ``parked`` has lost them; ``dropped``: copies that nothing waits for;
    ``dead``: copies that become dead letters, as what they waited behind is gone, or nothing else knows of them;
    ``adopted``: copies behind one, which no outcome names; ``given_up``: waiting, with neither a copy nor an event;
    ``again``: events that are delivered anew, as nothing holds them any more.
    """

    holds: dict[bytes, Hold] = field(default_factory=dict)
    redriven: set[int] = field(default_factory=set)
    remade: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)
    adopted: list[int] = field(default_factory=list)
    given_up: list[int] = field(default_factory=list)
    again: list[int] = field(default_factory=list)


class Mend:
    """Of one partition; ``copies``: those that ``parked`` has, by event offset."""

    def __init__(self, known: Known, copies: Mapping[int, Copy]) -> None:
        self._known, self._events, self._copies = known, known.events, copies
        self._found = Mending()
        self._of_key: dict[bytes, set[int]] = defaultdict(set)
        for offset, one in known.waiting.items():
            if one.key is not None:
                self._of_key[one.key].add(offset)
        for offset, copy in copies.items():
            if copy.key is not None and self._alone_knows(offset):
                self._of_key[copy.key].add(offset)

    def _alone_knows(self, offset: int) -> bool:
        """No outcome says what became of it, and no event is there to be delivered: the copy is all there is."""
        settled = offset in self._known.settled or offset in self._known.waiting
        return not settled and not self._events.has(offset)

    def result(self) -> Mending:
        holds, covered = self._known.holds(), set[int]()
        for key, hold in holds.items():
            covered |= self._hold(key, hold)
        for offset in self._known.waiting.keys() - covered:
            self._letter(offset)
        for offset in self._copies.keys() - self._known.waiting.keys() - covered:
            self._left_over(offset)
        self._found.redriven = {one for one in holds.redriven if one in self._copies or one in self._found.remade}
        for offset in self._found.again:
            self._events.unfinish(offset)
        return self._found

    def _hold(self, key: bytes, hold: Hold) -> set[int]:
        low = hold.drained + 1 if hold.draining else hold.dead
        wanted = {one for one in self._of_key[key] if one >= low}
        there = self._there(sorted(wanted))
        if hold.draining:
            last = max(there, default=hold.drained)
            self._found.holds[key] = Hold(hold.dead, last, hold.drained, 0, draining=True)
        elif there:
            self._found.holds[key] = Hold(there[0], there[-1], -1, 0)
            if there[0] != hold.dead:
                self._found.dead.append(there[0])
        return wanted

    def _there(self, wanted: Iterable[int]) -> list[int]:
        there = []
        for offset in wanted:
            if offset in self._copies:
                if offset not in self._known.waiting and offset >= self._events.first:
                    self._found.adopted.append(offset)
            elif self._events.has(offset):
                self._found.remade.append(offset)
            else:
                self._found.given_up.append(offset)
                continue
            there.append(offset)
        return there

    def _letter(self, offset: int) -> None:
        """It waits, and no key is held by it."""
        one, there = self._known.waiting[offset], self._events.has(offset)
        if offset in self._copies:
            if one.kind == DEAD:
                return
            if there:
                self._found.again.append(offset)
                self._found.dropped.append(offset)
            else:
                self._found.dead.append(offset)
        elif not there:
            self._found.given_up.append(offset)
        elif one.kind == DEAD and not one.hold:
            self._found.remade.append(offset)
        else:
            self._found.again.append(offset)

    def _left_over(self, offset: int) -> None:
        """A copy that no outcome of the log calls for."""
        if not self._alone_knows(offset):
            self._found.dropped.append(offset)
        elif offset >= self._events.first or not self._copies[offset].dead:
            self._found.dead.append(offset)
