"""What the ledger answers. Times are microseconds since 1970, or None."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MessageRow:
    """``status``: in_flight, or the kind of the outcome that decided; ``failure`` and ``reason`` are the last
    attempt's; ``size``: bytes of the event, None where the ledger knows only its outcomes."""

    flow: str
    partition: int
    offset: int
    message_id: str | None
    correlation_id: str | None
    key: str | None
    type: str | None
    source: str
    destination: str
    priority: str | None
    status: str
    accepted_at: int
    decided_at: int | None
    delivered_at: int | None
    attempts: int
    failure: str | None
    reason: str | None
    size: int | None
    transform: str | None
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One outcome, or "accepted", which comes first. ``offset``: of its record, -1 where that is gone; ``stale``: a
    former owner's, which does not count."""

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
    partition: int
    offset: int
    stale: bool


@dataclass(frozen=True, slots=True)
class StatusCount:
    """``status``: as a message has it, or "repeats": stale outcomes, and deliveries that were recorded again."""

    flow: str
    partition: int
    status: str
    count: int


@dataclass(frozen=True, slots=True)
class Unaccounted:
    """Below the owner's position without an outcome."""

    flow: str
    partition: int
    offset: int
    message_id: str | None
    accepted_at: int


@dataclass(frozen=True, slots=True)
class Folded:
    """All events and outcomes below these offsets are in the answer. ``lag``: records behind the ends of the logs, as
    the ledger knew them at ``at``."""

    flow: str
    partition: int
    events: int
    outcomes: int
    lag: int
    at: int


@dataclass(frozen=True, slots=True)
class ConversationRow:
    """``state``: waiting, answered, overdue, or late: answered after it was due."""

    correlation_id: str
    request_flow: str
    request_message_id: str | None
    request_at: int
    answer_flow: str | None
    answer_message_id: str | None
    answer_at: int | None
    due_at: int | None
    state: str

    @property
    def between(self) -> int | None:
        """Microseconds from the request to its answer."""
        return None if self.answer_at is None else self.answer_at - self.request_at


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """None: any. ``since`` <= accepted < ``until``."""

    flow: str | None = None
    status: str | None = None
    type: str | None = None
    key: str | None = None
    message_id: str | None = None
    correlation_id: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """None: any. ``flow``: the request's; ``since`` <= asked < ``until``."""

    flow: str | None = None
    state: str | None = None
    correlation_id: str | None = None
    since: int | None = None
    until: int | None = None
