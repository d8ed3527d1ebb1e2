"""Whether a destination is asked at all, and which failures a message has to answer for. Pure: no I/O, no own clock.

"Not connected" and "later" (429, 503) are never about the message. No answer and 500 may be, and are charged to it only
on proof that the destination was well: the message failed; another one that started after that was taken; the message
failed again; and again another one that started after that was taken, while the breaker stayed closed. So a single
outage, however long, charges nothing, and a message that alone fails is charged one attempt less than it fails.
"""

from __future__ import annotations

import math
from enum import IntEnum

import msgspec

from linkspan.kernel.errors import DeliveryError, Doubtful, FailureClass, RateLimited, Unavailable
from linkspan.kernel.resilience.retry import RetryPolicy

#: Attempts under way at once while it is not known whether the destination is back.
PROBES = 2
#: So many different messages in a row without an answer, or with a 500, open the breaker; "not connected" or "later"
#: does at once.
IN_A_ROW = 2
#: A destination that asks for more than this (``Retry-After``), seconds, is asked again after an hour.
LONGEST_ASKED = 3600.0
#: When the ramp is here, pauses begin with the shortest again.
_WELL = 4
_MAY_PASS = frozenset({FailureClass.UNAVAILABLE, FailureClass.TRANSIENT})


class Mode(IntEnum):
    CLOSED, PROBING, OPEN = range(3)


class Doubt(msgspec.Struct, eq=False):
    """Of a message that failed, belongs to it until it is taken. ``due``: its last failure is to be charged; of that
    ``error``, and ``sent_at`` as ``answered`` was told."""

    failed: int
    error: DeliveryError
    sent_at: int | None = None
    due: bool = False


class Ticket(msgspec.Struct, eq=False):
    """One attempt under way. ``started`` counts the breaker's events, ``era`` its openings and closings; ``proven``:
    after the last failure of its message another one was taken."""

    started: int
    era: int
    doubt: Doubt | None
    proven: bool


class Breaker:
    """Of one way to a destination (a flow's endpoint, a lookup). Times are the caller's, in seconds; pauses follow
    ``retry``. After an opening ``full`` attempts at once are reached by doubling from one, a round of answers each."""

    def __init__(self, retry: RetryPolicy, full: int) -> None:
        self._retry, self._full = retry, full
        self._events = self._era = 0
        self._under_way = 0
        self._failures = self._row = self._misses = 0
        self._last_answer = self._taken_from = -1
        self._to_prove: list[Doubt] = []
        self._resume_at: float | None = None
        self._away = False
        self._ramp: int | None = None
        self._round = 0
        self.mode = Mode.CLOSED
        self.reason: str | None = None

    @property
    def holds_back(self) -> bool:
        """Each answer may change the budget."""
        return self.mode is not Mode.CLOSED or self._ramp is not None

    def budget(self, now: float, wanted: int) -> int:
        if self._resume_at is not None:
            return min(wanted, max(0, PROBES - self._under_way)) if now >= self._resume_at else 0
        return wanted if self._ramp is None else min(wanted, max(0, self._ramp - self._under_way))

    def wake_at(self) -> float | None:
        """When there is a budget again without an answer."""
        return self._resume_at if self._under_way < PROBES else None

    def ask_now(self, now: float) -> None:
        """What opened it may be over: probes may go at once. Without a connection there is nothing to ask."""
        if self._resume_at is not None and not self._away:
            self._resume_at = min(self._resume_at, now)

    def submitted(self, doubt: Doubt | None = None) -> Ticket:
        """``doubt``: of the same message, from its last failure."""
        self._events += 1
        self._under_way += 1
        if self.mode is Mode.OPEN:
            self.mode = Mode.PROBING
        return Ticket(self._events, self._era, doubt, doubt is not None and self._taken_from > doubt.failed)

    def answered(
        self, ticket: Ticket, error: DeliveryError | None, now: float, sent_at: int | None = None
    ) -> Doubt | None:
        """The message's doubt from now on."""
        self._events += 1
        if ticket.era == self._era:
            self._under_way -= 1
        if error is not None and error.failure in _MAY_PASS:
            doubt = self._failed(ticket, error, now)
            doubt.sent_at = sent_at
            return doubt
        self._last_answer, self._row = self._events, 0
        if error is None:
            self._took(ticket)
        if ticket.era == self._era:
            self._lives()
        return None

    def unsent(self, ticket: Ticket) -> Doubt | None:
        """It was not sent after all: nothing is known that was not before."""
        if ticket.era == self._era:
            self._under_way -= 1
        if self.mode is Mode.PROBING and not self._under_way:
            self.mode = Mode.OPEN
        return ticket.doubt

    def connection(self, trouble: str | None, now: float) -> None:
        """What an adapter that keeps a connection says of it: nothing wrong, or what keeps it from being made."""
        if trouble is not None and not self._away:
            self._away = True
            self._open(Unavailable(trouble), now, longer=False)
            self._resume_at = math.inf
        elif trouble is None and self._away:
            self._away = False
            self._close()

    def _took(self, ticket: Ticket) -> None:
        self._taken_from = max(self._taken_from, ticket.started)
        if self._to_prove:
            for doubt in self._to_prove:
                doubt.due = doubt.failed < ticket.started
            self._to_prove = [doubt for doubt in self._to_prove if not doubt.due]

    def _lives(self) -> None:
        """An answer to what was asked after the opening."""
        if self._resume_at is not None:
            self._close()
            return
        if self._ramp is None:
            return
        self._round -= 1
        if self._round == 0:
            self._ramp = self._round = self._ramp * 2
            self._failures = 0 if self._ramp >= _WELL else self._failures
        if self._ramp >= self._full:
            self._ramp = None

    def _close(self) -> None:
        """What is under way still keeps nobody back."""
        self._era += 1
        self._under_way = 0
        self._resume_at, self.mode, self.reason = None, Mode.CLOSED, None
        self._ramp = self._round = 1

    def _failed(self, ticket: Ticket, error: DeliveryError, now: float) -> Doubt:
        known = ticket.doubt is not None
        doubt = ticket.doubt or Doubt(self._events, error)
        doubt.failed, doubt.error = self._events, error
        same_era = ticket.era == self._era
        self._to_prove = [other for other in self._to_prove if other is not doubt]
        if ticket.proven and same_era and _may_be_the_message(error):
            self._to_prove.append(doubt)
        if self._resume_at is not None:
            if same_era:
                self._missed(error, now, known=known)
        elif self._concerns_all(ticket, error):
            self._open(error, now, longer=not known)
        return doubt

    def _missed(self, error: DeliveryError, now: float, *, known: bool) -> None:
        """A probe failed. One that did before may do so for itself: another one has its turn before the next pause."""
        self._misses += 1
        if not known or error.retry_after is not None or self._misses >= PROBES:
            self._pause(error, now, longer=not known)
        elif not self._under_way:
            self.mode = Mode.OPEN

    def _concerns_all(self, ticket: Ticket, error: DeliveryError) -> bool:
        """Not where later ones were answered, and not twice by one message, unless it was told when to come again."""
        if isinstance(error, RateLimited) or (error.retry_after is not None and not ticket.proven):
            return True
        if ticket.doubt is not None or self._last_answer > ticket.started:
            return False
        if not _may_be_the_message(error):
            return True
        self._row += 1
        return self._row >= IN_A_ROW

    def _open(self, error: DeliveryError, now: float, *, longer: bool) -> None:
        """What was proven before proves nothing any more."""
        self._era += 1
        self._under_way = self._row = 0
        self._taken_from = -1
        self._to_prove.clear()
        self._ramp = None
        self._pause(error, now, longer=longer)

    def _pause(self, error: DeliveryError, now: float, *, longer: bool) -> None:
        """Longer each time that another message fails; one that fails again and again keeps nobody waiting longer."""
        self._failures += longer
        self._misses = 0
        asked = None if error.retry_after is None else min(error.retry_after, LONGEST_ASKED)
        resume_at = now + self._retry.delay(max(1, self._failures), asked)
        self._resume_at = resume_at if self._resume_at is None else max(resume_at, self._resume_at)
        self.reason = error.reason
        if not self._under_way:
            self.mode = Mode.OPEN


def _may_be_the_message(error: DeliveryError) -> bool:
    return error.failure is FailureClass.TRANSIENT or isinstance(error, Doubtful)
