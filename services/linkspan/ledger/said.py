"""What records of Kafka say to the ledger, in the form that its tables can hold."""

from __future__ import annotations

from typing import Any

import msgspec

from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.errors import Poison
from linkspan.kernel.records.parked import Copy
from linkspan.kernel.topics import Headers

#: Characters of a text that is searched for: PostgreSQL's indexes take no entry above some 2,700 bytes.
SEARCHED = 500
_SHORT, _LONG = 128, 4_000
_NUMBER = 2**62
_KIND = 16


class EventSaid(msgspec.Struct, gc=False):
    """By its headers alone. ``size``: bytes of the event; ``accepted_at``: microseconds since 1970."""

    event: int
    message_id: str | None
    correlation_id: str | None
    key: str | None
    type: str | None
    priority: str | None
    trace_id: str | None
    size: int
    accepted_at: int


class OutcomeSaid(msgspec.Struct, gc=False):
    """``outcome``: its offset; ``event``: -1 where none is meant; ``until``: of a range, else -1."""

    outcome: int
    event: int
    kind: str
    epoch: int
    at: int
    attempt: int = 0
    failure: str | None = None
    reason: str | None = None
    destination: str | None = None
    sent_at: int | None = None
    transform: str | None = None
    command: int | None = None
    plan: str | None = None
    until: int = -1
    message_id: str | None = None
    correlation_id: str | None = None
    key: str | None = None
    accepted_at: int | None = None

    @property
    def expires(self) -> bool:
        """A range that retention took; a replay's says nothing of the messages' own status."""
        return self.until >= 0 and self.plan is None


def event_said(record: Any) -> EventSaid:
    said = dict(record.headers)
    return _event(record.offset, said, record.key, record.value, record.timestamp)


def copy_said(record: Any) -> tuple[EventSaid, OutcomeSaid]:
    """Of a copy in ``parked``: the event, and what the outcome said that parked it (its offset is not known)."""
    copy, headers = Copy(record), dict(record.headers)
    event = _event(copy.offset, headers, copy.key, record.value, record.timestamp)
    said = OutcomeSaid(
        -1,
        copy.offset,
        _text(headers.get(Headers.PARKED_KIND), _KIND) or "held",
        _number(headers.get(Headers.PARKED_EPOCH), 0),
        _number(headers.get(Headers.PARKED_AT), record.timestamp * 1000),
        _number(headers.get(Headers.PARKED_ATTEMPTS), 0),
        _text(headers.get(Headers.PARKED_FAILURE), _KIND),
        _text(headers.get(Headers.PARKED_REASON), _LONG),
    )
    return event, said


def outcome_said(record: Any, codec: OutcomeCodec) -> OutcomeSaid:
    """Kind, event, epoch and plan as the headers have them, which every other reader goes by too."""
    headers = dict(record.headers)
    get = headers.get
    plan = get(Headers.PLAN)
    said = OutcomeSaid(
        record.offset,
        _number(get(Headers.OFFSET), -1),
        get(Headers.KIND, b"")[:_KIND].decode("ascii", "replace"),
        _number(get(Headers.EPOCH), 0),
        record.timestamp * 1000,
        plan=None if plan is None else _text(plan, _SHORT),
        until=_number(get(Headers.UNTIL), -1),
    )
    try:
        found = codec.decode(record.value)
    except Poison as error:
        said.reason = clipped(f"the outcome cannot be read: {error}", _LONG)
        said.message_id = _text(get(Headers.MESSAGE_ID), SEARCHED)
        said.correlation_id = _text(get(Headers.CORRELATION_ID), SEARCHED)
        return said
    _fill(said, found)
    return said


def _fill(said: OutcomeSaid, found: dict[str, Any]) -> None:
    said.at, said.attempt, said.failure = found["at"], found["attempt"], found["failure"]
    said.sent_at, said.command, said.accepted_at = found["sentAt"], found["command"], found["acceptedAt"]
    said.reason = clipped(found["reason"], _LONG)
    said.destination = clipped(found["destination"], _SHORT)
    said.transform = clipped(found["transform"], _SHORT)
    said.message_id = clipped(found["messageId"], SEARCHED)
    said.correlation_id = clipped(found["correlationId"], SEARCHED)
    said.key = clipped(found["key"], SEARCHED)


def _event(offset: int, headers: dict[str, bytes], key: bytes | None, value: bytes | None, timestamp: int) -> EventSaid:
    get = headers.get
    trace = get(Headers.TRACEPARENT, b"").split(b"-")
    return EventSaid(
        offset,
        _text(get(Headers.MESSAGE_ID), SEARCHED),
        _text(get(Headers.CORRELATION_ID), SEARCHED),
        _text(key, SEARCHED),
        _text(get(Headers.TYPE), _SHORT),
        _text(get(Headers.PRIORITY), _SHORT),
        _text(trace[1], _SHORT) if len(trace) == 4 else None,
        len(value or b""),
        _number(get(Headers.ACCEPTED_AT), timestamp * 1000),
    )


def clipped(value: str | None, length: int) -> str | None:
    """Without the character that PostgreSQL takes in no text."""
    if value is None:
        return None
    return (value.replace("\0", "\ufffd") if "\0" in value else value)[:length]


def _text(value: bytes | None, length: int) -> str | None:
    if value is None:
        return None
    text = value.decode("utf-8", "replace")
    return text if len(text) <= length and "\0" not in text else clipped(text, length)


def _number(value: bytes | None, otherwise: int) -> int:
    """That fits a column of 64 bits."""
    if value is None or not value.isdigit() or len(value) > 19:
        return otherwise
    return min(int(value), _NUMBER)
