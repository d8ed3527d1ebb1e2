"""What the outcomes of a partition say about the events at and above its position."""

from __future__ import annotations

from collections.abc import Mapping

from linkspan.egress.partition.epoch import OWNER, Epoch
from linkspan.egress.partition.holds import Hold, Holds
from linkspan.egress.partition.position import Position
from linkspan.egress.partition.ranges import Ranges

#: Kinds after which a message needs nothing more from the log of events; a held one is released from ``parked``.
FINISHING = frozenset(
    {"delivered", "held", "dead_lettered", "expired", "filtered", "duplicate", "superseded", "discarded"}
)
ATTEMPT_FAILED = "attempt_failed"


class Memory:
    """The fold of ``outcomes`` after a position. ``stale``: finishing outcomes that the epoch rule made void."""

    def __init__(self, position: Position | None = None, holds: Mapping[bytes, Hold] | None = None) -> None:
        position = position or Position()
        self._events, self._control = position.events, position.control
        self._finished = Ranges(position.finished)
        self._charged = dict(position.charged)
        self._epoch = Epoch(position.outcomes_epoch)
        self._outcomes = position.outcomes
        self.holds = Holds(holds)
        self.stale = 0

    @property
    def epoch(self) -> int:
        """In force after all that was folded."""
        return self._epoch.in_force

    def fold(
        self, outcome_offset: int, kind: str, offset: int, epoch: int, held: tuple[bytes, int] | None = None
    ) -> None:
        """An outcome about the event ``offset`` that stands at ``outcome_offset`` and was written in ``epoch``.

        ``held``: the key that it holds, and where in ``parked`` the copy stands.
        """
        self._outcomes = max(self._outcomes, outcome_offset + 1)
        if not self._epoch.valid(kind, epoch):
            self.stale += kind in FINISHING
        elif kind == OWNER or offset < self._events:
            return
        elif kind in FINISHING:
            self._finished.add(offset)
            self._charged.pop(offset, None)
            if held is not None:
                self.holds.parked(held[0], offset, held[1])
        elif kind == ATTEMPT_FAILED:
            self._charged[offset] = self._charged.get(offset, 0) + 1

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
        return Position(
            self.epoch,
            self._events,
            tuple(self._finished),
            tuple(self._charged.items()),
            self._outcomes,
            self.epoch,
            self._control,
        )
