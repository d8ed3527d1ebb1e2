"""What a batch of events and outcomes makes of the rows of one stream. Pure.

Outcomes of a partition come in the order of its log; events may come before or after theirs. What was folded already
changes nothing when it comes again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from linkspan.kernel.records.epoch import OWNER, Epoch
from linkspan.ledger.said import EventSaid, OutcomeSaid
from linkspan.readmodel.tables import IN_FLIGHT, NONE, PARKED
from linkspan.readmodel.tally import REDRIVEN, STATUSES

#: The counter of what no status says: stale outcomes, and deliveries that were recorded again.
REPEATS = "repeats"
EXPIRED = "expired"
_STATUS = {kind: kind for kind in STATUSES} | {REDRIVEN: IN_FLIGHT}
_TRIED = "attempt_failed"


class Progress(msgspec.Struct):
    """As the table ``offsets`` has it: what is folded, and the epoch in force there."""

    events: int = 0
    outcomes: int = 0
    state: int = 0
    epoch: int = 0
    position: int = 0
    position_outcomes: int = 0
    accounted: int = 0


class Row(msgspec.Struct, gc=False):
    """Of ``messages``."""

    stream: int
    event: int
    message_id: str | None = None
    correlation_id: str | None = None
    key: str | None = None
    type: str | None = None
    priority: str | None = None
    trace_id: str | None = None
    size: int | None = None
    accepted_at: int = 0
    status: str = IN_FLIGHT
    last: int = NONE
    decided: int = NONE


class OutcomeRow(msgspec.Struct, gc=False):
    """Of ``outcomes``."""

    stream: int
    event: int
    outcome: int
    kind: str
    at: int
    epoch: int
    attempt: int
    failure: str | None
    reason: str | None
    destination: str | None
    sent_at: int | None
    transform: str | None
    command: int | None
    plan: str | None
    stale: int


class Range(msgspec.Struct):
    """Of ``ranges``; ``missing``: its events without a row."""

    stream: int
    outcome: int
    first: int
    until: int
    at: int
    missing: int


class Fold:
    """One stream's batch: ``known`` are the rows that it may be about. ``changed`` are those of them that it is
    about, ``new`` the others; ``counters`` how the counts of statuses change."""

    def __init__(self, stream: int, progress: Progress, known: dict[int, Row], ranges: Iterable[Range] = ()) -> None:
        self.stream, self.before = stream, progress
        self.progress = msgspec.structs.replace(progress)
        self.new: dict[int, Row] = {}
        self.changed: dict[int, Row] = {}
        #: Of ``changed``, those that more than an outcome changed.
        self.described: set[int] = set()
        self.outcomes: list[OutcomeRow] = []
        self.counters: Counter[str] = Counter()
        #: Rows that came to be inside a range, by the range's outcome.
        self.filled: Counter[int] = Counter()
        #: The database itself changed rows, for a range that came last.
        self.ranged = False
        self._known, self._ranges = known, list(ranges)
        self._epoch = Epoch(progress.epoch)

    def event(self, said: EventSaid) -> None:
        if said.event < self.progress.events:
            return
        self.progress.events = said.event + 1
        self._describe(self._row(said.event), said)

    def outcome(self, said: OutcomeSaid) -> None:
        """Not of a range that expired: that is for ``whole_range``."""
        if said.outcome < self.progress.outcomes:
            return
        self.progress.outcomes = said.outcome + 1
        valid = self._epoch.valid(said.kind, said.epoch)
        self.progress.epoch = self._epoch.in_force
        if said.kind == OWNER or said.event < 0 or said.until >= 0:
            return  # a replay's range names no message: what it means for each, its plan's list says
        self.outcomes.append(_outcome_row(self.stream, said, stale=not valid))
        if said.plan is not None:
            return
        if not valid:
            self.counters[REPEATS] += 1
        elif said.kind in _STATUS or said.kind == _TRIED:
            self._decide(self._row(said.event), said)

    def whole_range(self, said: OutcomeSaid) -> Range | None:
        """None where it says nothing new; its ``missing`` is not known yet. All that came before must be stored."""
        if said.outcome < self.progress.outcomes:
            return None
        self.progress.outcomes = said.outcome + 1
        first = max([said.event, 0, *(known.until for known in self._ranges)])
        if not self._epoch.valid(said.kind, said.epoch) or first >= said.until:
            return None
        return Range(self.stream, said.outcome, first, said.until, said.at, 0)

    def copy(self, event: EventSaid, said: OutcomeSaid) -> None:
        """Of a parked message whose event, and perhaps outcome, the log has no more."""
        row = self._row(event.event)
        if row.size is None:
            self._describe(row, event)
        if row.decided == NONE:
            row.decided, row.last = PARKED, max(row.last, PARKED)
            self._status(row, _STATUS.get(said.kind, "held"))
            self.outcomes.append(_outcome_row(self.stream, said, stale=False))

    def skip_to(self, events: int, outcomes: int) -> None:
        """Where the log begins later than what is folded."""
        self.progress.events = max(self.progress.events, events)
        self.progress.outcomes = max(self.progress.outcomes, outcomes)

    def position(self, events: int, outcomes: int) -> None:
        """As the partition's owner says where it is."""
        self.progress.position, self.progress.position_outcomes = events, outcomes

    def read(self, state: int, conversations: int) -> None:
        """``state``: the offset of the last of its records, ``conversations``: that of the next of theirs; -1 where
        nothing came. A stream of conversations keeps its offset in the place of the events'."""
        self.progress.state = max(self.progress.state, state + 1)
        self.progress.events = max(self.progress.events, conversations)

    def finish(self) -> None:
        """A position is held against the rows once the outcomes are folded that it knew."""
        progress = self.progress
        if progress.outcomes >= progress.position_outcomes:
            progress.accounted = max(progress.accounted, progress.position)

    def _row(self, event: int) -> Row:
        row = self.new.get(event) or self.changed.get(event)
        if row is not None:
            return row
        known = self._known.get(event)
        if known is not None:
            row = self.changed[event] = msgspec.structs.replace(known)
            return row
        row = self.new[event] = Row(self.stream, event)
        for one in self._ranges:
            if one.first <= event < one.until:
                self._expire(row, one)
                return row
        self.counters[row.status] += 1
        return row

    def _expire(self, row: Row, by: Range) -> None:
        """The counter has it already."""
        row.status, row.last, row.decided = EXPIRED, by.outcome, by.outcome
        self.filled[by.outcome] += 1
        self.outcomes.append(expired(self.stream, row.event, by))

    def _describe(self, row: Row, said: EventSaid) -> None:
        self.described.add(row.event)
        row.message_id, row.correlation_id, row.key = said.message_id, said.correlation_id, said.key
        row.type, row.priority, row.trace_id = said.type, said.priority, said.trace_id
        row.size, row.accepted_at = said.size, said.accepted_at

    def _decide(self, row: Row, said: OutcomeSaid) -> None:
        if row.size is None and not row.accepted_at:  # its first outcome, before the event
            row.message_id, row.correlation_id, row.key = said.message_id, said.correlation_id, said.key
            row.accepted_at = said.accepted_at or said.at
        row.last = said.outcome
        status = _STATUS.get(said.kind)
        if status is None:
            return
        row.decided = said.outcome
        self.counters[REPEATS] += row.status == status == "delivered"
        self._status(row, status)

    def _status(self, row: Row, status: str) -> None:
        if row.status != status:
            self.counters[row.status] -= 1
            self.counters[status] += 1
            row.status = status


def expired(stream: int, event: int, by: Range) -> OutcomeRow:
    """What a range says of one event."""
    reason = "retention deleted it before it was delivered"
    return OutcomeRow(stream, event, by.outcome, EXPIRED, by.at, 0, 0, EXPIRED, reason, None, None, None, None, None, 0)


def _outcome_row(stream: int, said: OutcomeSaid, *, stale: bool) -> OutcomeRow:
    return OutcomeRow(
        stream,
        said.event,
        said.outcome,
        said.kind,
        said.at,
        said.epoch,
        said.attempt,
        said.failure,
        said.reason,
        said.destination,
        said.sent_at,
        said.transform,
        said.command,
        said.plan,
        int(stale),
    )
