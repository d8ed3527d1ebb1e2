"""The fold of a partition's events and outcomes. Pure, and a byte an offset, so that millions fit.

Nothing is a remainder: events are counted as they are read, each status from the latest valid outcome of its event,
in flight and unaccounted by the position: an event without an outcome at or above it, or below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields

#: The terms of the sum, each a kind of outcome that says what became of a message.
STATUSES = (
    "delivered",
    "held",
    "dead_lettered",
    "expired",
    "filtered",
    "duplicate",
    "superseded",
    "discarded",
)
#: A dead letter or held message that was released: under way again, until its next outcome.
REDRIVEN = "redriven"
OWNER = "owner"

_ABSENT, _NO_OUTCOME, _UNDER_WAY = 0, 1, 2
_CODES = {REDRIVEN: _UNDER_WAY} | {kind: code for code, kind in enumerate(STATUSES, 3)}
_DELIVERED = _CODES["delivered"]


@dataclass(slots=True)
class Counts:
    """Of a partition, or of a flow when added up. ``repeats``: deliveries recorded again, and stale outcomes;
    ``strays``: outcomes about offsets that hold no event; ``gone``: offsets that retention took before delivery, and
    that no outcome says so of; ``expired_by_retention``: those of which one does."""

    accepted: int = 0
    in_flight: int = 0
    statuses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    unaccounted: int = 0
    repeats: int = 0
    strays: int = 0
    gone: int = 0
    expired_by_retention: int = 0

    @property
    def balanced(self) -> bool:
        """accepted = delivered + in flight + held + …, with nothing below the position left over."""
        return self.accepted == self.in_flight + sum(self.statuses.values()) and not self.unaccounted and not self.gone

    def add(self, other: Counts) -> None:
        for item in fields(self):
            if item.name != "statuses":
                setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))
        for kind, count in other.statuses.items():
            self.statuses[kind] += count


class PartitionTally:
    """First all events, then all outcomes in their order. ``first``, ``end``: the range of event offsets."""

    def __init__(self, first: int, end: int) -> None:
        self._first, self._end = first, max(first, end)
        self._codes = bytearray(self._end - first)
        self._accepted = self._repeats = self._strays = self._expired = 0
        self._epoch = 0
        #: Offsets below ``first`` that some outcome finished, of those that ``gone_from`` asks about.
        self._gone_from = first
        self._finished_before: set[int] = set()

    def expect_from(self, position: int) -> None:
        """Events from here on were unfinished, yet the log begins later: what has no outcome there is gone."""
        self._gone_from = min(position, self._first)

    def event(self, offset: int) -> None:
        if self._first <= offset < self._end:
            self._codes[offset - self._first] = _NO_OUTCOME
            self._accepted += 1

    def outcome(self, kind: str, offset: int, epoch: int, until: int = -1) -> None:
        """An outcome of the message's own delivery (not of a replay); ``until``: of all events before that offset,
        which retention took."""
        if until >= 0:
            self._expired += until - offset
            return
        if kind == OWNER:
            self._epoch = max(self._epoch, epoch)
            return
        code = _CODES.get(kind)
        if code is None or offset >= self._end:
            return  # says nothing of a status; or of an event that came after the reading began
        if offset < self._first:
            if offset >= self._gone_from and epoch >= self._epoch:
                self._finished_before.add(offset)
            return
        place = offset - self._first
        known = self._codes[place]
        if known == _ABSENT:
            self._strays += 1
        elif epoch < self._epoch:
            self._repeats += 1
        else:
            self._repeats += known == code == _DELIVERED
            self._codes[place] = code

    def counts(self, position: int) -> Counts:
        """``position``: all events below are finished, as their owner said."""
        codes, below = self._codes, max(0, position - self._first)
        return Counts(
            accepted=self._accepted,
            in_flight=codes.count(_NO_OUTCOME, below) + codes.count(_UNDER_WAY),
            statuses={kind: codes.count(_CODES[kind]) for kind in STATUSES},
            unaccounted=codes.count(_NO_OUTCOME, 0, below),
            repeats=self._repeats,
            strays=self._strays,
            expired_by_retention=self._expired,
            gone=self._first - self._gone_from - len(self._finished_before),
        )

    def unaccounted(self, position: int) -> Iterator[int]:
        """Offsets, rising."""
        below, place = max(0, position - self._first), -1
        while (place := self._codes.find(_NO_OUTCOME, place + 1, below)) >= 0:
            yield self._first + place
