"""What the outcomes of a partition say about the events at and above its position, its held keys and its past ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from linkspan.egress.partition.holds import Holds
from linkspan.egress.partition.ids import Ids
from linkspan.egress.partition.ranges import Ranges
from linkspan.kernel.records.epoch import OWNER, Epoch
from linkspan.kernel.records.event import acceptance64
from linkspan.kernel.records.fact import ATTEMPT_FAILED, DEAD, DISCARDED, FINISHING, Fact
from linkspan.kernel.records.position import Position

#: After these the destination has the message, or is not to have it: the same id again is a duplicate.
_KNOWN = frozenset({"delivered", "filtered", "superseded"})


class Memory:
    """The fold of ``outcomes`` after a position. ``stale``: finishing outcomes that the epoch rule made void;
    ``control``: all commands below it are carried out; ``marked``: events below it are of a restored log, and may have
    gone out.

    ``copies``: event offsets of the copies that stand in ``parked`` at and above the position's ``parked``, each with
    where, and its key. Those that no valid outcome names are ``orphans``, left by a former owner.
    """

    def __init__(
        self,
        position: Position | None = None,
        holds: Holds | None = None,
        ids: Ids | None = None,
        copies: Mapping[int, tuple[int, bytes | None]] | None = None,
    ) -> None:
        self._began = position = position or Position()
        self._copies = dict(copies or {})
        self._parked = position.parked
        self._events = position.events
        self._finished = Ranges(position.finished)
        self._charged = dict(position.charged)
        self._epoch = Epoch(position.outcomes_epoch)
        self._outcomes = position.outcomes
        self.control = position.control
        self.marked = position.marked
        self.holds = Holds() if holds is None else holds
        self.ids = Ids() if ids is None else ids
        self.stale = 0

    @property
    def epoch(self) -> int:
        """In force after all that was folded."""
        return self._epoch.in_force

    def fold(self, outcome_offset: int, fact: Fact) -> None:
        """An outcome that stands at ``outcome_offset``."""
        self._outcomes = max(self._outcomes, outcome_offset + 1)
        if not self._epoch.valid(fact.kind, fact.epoch):
            self.stale += fact.kind in FINISHING
            return
        if fact.kind == OWNER:
            return
        self.control = max(self.control, 0 if fact.flushed else fact.control + 1)
        if fact.parked >= 0:
            self._parked = max(self._parked, fact.parked + 1)
            if fact.offset in self._copies and self._copies[fact.offset][0] == fact.parked:
                del self._copies[fact.offset]
        self.holds.fold(fact)
        if fact.id is not None:
            self._remember(fact.id, fact)
        if fact.offset < self._events:
            return
        if fact.kind in FINISHING:
            self._finished.add(fact.offset)
            self._charged.pop(fact.offset, None)
        elif fact.kind == ATTEMPT_FAILED:
            self._charged[fact.offset] = self._charged.get(fact.offset, 0) + 1

    def passed(self, outcome_offset: int) -> None:
        """An outcome of a replay stands there: it says nothing of a message's own status."""
        self._outcomes = max(self._outcomes, outcome_offset + 1)

    def _remember(self, message_id: int, fact: Fact) -> None:
        if fact.kind in _KNOWN:
            self.ids.add(message_id, fact.digest, fact.at)
        elif fact.kind == DISCARDED or (fact.kind == DEAD and not fact.hold):
            self.ids.add(acceptance64(message_id, fact.accepted), fact.digest, fact.at)

    def known(self, message_id: int, accepted_at: int, now: int) -> int | None:
        """The digest that the id came with: the destination has it, or it is not to have what was accepted then."""
        digest = self.ids.known(message_id, now)
        return self.ids.known(acceptance64(message_id, accepted_at), now) if digest is None else digest

    def orphans(self) -> list[int]:
        """Event offsets of copies that must be deleted before anything else is parked: but for one that has taken the
        place of an equal copy which is still needed."""
        return sorted(offset for offset, (_, key) in self._copies.items() if not self.holds.needs(offset, key))

    def is_finished(self, offset: int) -> bool:
        return offset in self._finished

    def charged(self, offset: int) -> int:
        return self._charged.get(offset, 0)

    def position(self, events: int) -> Position:
        """What a successor needs, all events below ``events`` being finished; they are forgotten here."""
        self._events = max(self._events, events)
        self._finished.forget_below(self._events)
        for offset in [offset for offset in self._charged if offset < self._events]:
            del self._charged[offset]
        return replace(
            self._began,
            epoch=self.epoch,
            events=self._events,
            finished=tuple(self._finished),
            charged=tuple(self._charged.items()),
            outcomes=self._outcomes,
            outcomes_epoch=self.epoch,
            control=self.control,
            redriven=tuple(sorted(self.holds.redriven)),
            parked=self._parked,
        )
