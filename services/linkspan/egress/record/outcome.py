"""How an outcome looks in its topic."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.epoch import OWNER
from linkspan.egress.partition.fact import Fact
from linkspan.egress.partition.lanes import CRITICAL, HIGH, LOW, NORMAL, Message
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.message import now_micros
from linkspan.kernel.topics import Headers

_REASON = 1_000
_URGENCY = {b"low": LOW, b"high": HIGH, b"critical": CRITICAL}
RecordHeaders = list[tuple[str, bytes]]


class Event(msgspec.Struct):
    """A fetched event and what its record headers say. ``accepted_at``: microseconds since 1970.

    ``refused``: the value is no event but an item that ingress could not refuse; why it is no message.
    """

    offset: int
    value: bytes | None
    message_id: str | None
    correlation_id: str | None
    digest: bytes | None
    accepted_at: int
    traceparent: str | None
    key: bytes | None
    headers: Sequence[tuple[str, bytes]]
    refused: str | None = None
    urgency: int = NORMAL

    @classmethod
    def of(cls, record: Any) -> Event:
        """From a ``ConsumerRecord``; nothing in it is trusted to be there."""
        return cls.made(record.offset, record.key, record.value, record.headers, record.timestamp)

    @classmethod
    def made(
        cls,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        timestamp: int,
    ) -> Event:
        """``timestamp``: milliseconds since 1970."""
        found = dict(headers)
        accepted = found.get(Headers.ACCEPTED_AT, b"")
        return cls(
            offset,
            value,
            _text(found.get(Headers.MESSAGE_ID)),
            _text(found.get(Headers.CORRELATION_ID)),
            found.get(Headers.DIGEST),
            int(accepted) if accepted.isdigit() else timestamp * 1000,
            _text(found.get(Headers.TRACEPARENT)),
            key,
            headers,
            _text(found.get(Headers.REFUSED)),
            _URGENCY.get(found.get(Headers.PRIORITY, b""), NORMAL),
        )


def fact_of(record: Any) -> Fact:
    """What the headers of an outcome say to whoever folds it."""
    found = dict(record.headers)
    message_id, digest = found.get(Headers.MESSAGE_ID), found.get(Headers.DIGEST)
    return Fact(
        found.get(Headers.KIND, b"").decode("ascii", "replace"),
        _number(found.get(Headers.OFFSET), -1),
        _number(found.get(Headers.EPOCH), 0),
        record.key,
        Headers.HOLD in found and record.key is not None,
        _number(found.get(Headers.PARKED), -1),
        _number(found.get(Headers.CONTROL), -1),
        None if message_id is None else hash64(message_id),
        0 if digest is None else int.from_bytes(digest[:8]),
        record.timestamp,
        Headers.PLAN in found,
    )


def message_of(event: Event) -> Message:
    """As the partition's state takes it."""
    message_id, digest = event.message_id, event.digest
    return Message(
        event.offset,
        event.key,
        event,
        id=None if message_id is None else hash64(message_id.encode()),
        digest=0 if digest is None else int.from_bytes(digest[:8]),
        urgency=event.urgency,
        accepted_at=event.accepted_at,
    )


def hash64(message_id: bytes) -> int:
    return int.from_bytes(blake2b(message_id, digest_size=8).digest())


def _number(value: bytes | None, otherwise: int) -> int:
    return int(value) if value is not None and value.isdigit() else otherwise


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


class OutcomeWriter:
    """Outcomes of one flow; ``epoch`` is the writing owner's."""

    def __init__(self, codec: OutcomeCodec, destination: str, transform: str) -> None:
        self._encode = codec.encode
        self._destination = destination
        self._transform = transform

    def owner(self, epoch: int) -> tuple[bytes, RecordHeaders]:
        """``owner(epoch)``: from here on outcomes of lower epochs are stale."""
        value = self._encode({"kind": OWNER, "offset": -1, "at": now_micros(), "epoch": epoch})
        return value, [(Headers.KIND, OWNER.encode()), (Headers.EPOCH, b"%d" % epoch)]

    def write(
        self, effect: Record, facts: Event | None, sent_at: int | None, epoch: int, parked: int | None = None
    ) -> tuple[bytes, RecordHeaders]:
        """The record's value and headers; ``sent_at`` is when the deciding attempt began, microseconds, ``parked``
        where the copy stands. ``facts`` are None where it is about a key alone."""
        message, error = effect.message, effect.error
        offset = message.offset
        value = self._encode(
            {
                "kind": effect.kind,
                "offset": offset,
                "messageId": facts.message_id if facts else None,
                "correlationId": facts.correlation_id if facts else None,
                "key": _text(message.key),
                "at": now_micros(),
                "epoch": epoch,
                "attempt": message.charged,
                "failure": error.failure.value if error else None,
                "reason": error.reason[:_REASON] if error else None,
                "destination": self._destination,
                "acceptedAt": facts.accepted_at if facts else None,
                "sentAt": sent_at,
                "transform": self._transform,
                "command": None if effect.control < 0 else effect.control,
                "plan": None,
            }
        )
        return value, _headers(effect, facts, epoch, parked)


def _headers(effect: Record, facts: Event | None, epoch: int, parked: int | None) -> RecordHeaders:
    headers: RecordHeaders = [
        (Headers.KIND, effect.kind.encode()),
        (Headers.OFFSET, b"%d" % effect.message.offset),
        (Headers.EPOCH, b"%d" % epoch),
    ]
    if parked is not None:
        headers.append((Headers.PARKED, b"%d" % parked))
    if effect.hold:
        headers.append((Headers.HOLD, b"1"))
    if effect.control >= 0:
        headers.append((Headers.CONTROL, b"%d" % effect.control))
    if effect.until >= 0:
        headers.append((Headers.UNTIL, b"%d" % effect.until))
    if facts is None:
        return headers
    if facts.message_id:
        headers.append((Headers.MESSAGE_ID, facts.message_id.encode()))
    if facts.correlation_id:
        headers.append((Headers.CORRELATION_ID, facts.correlation_id.encode()))
    if facts.digest:
        headers.append((Headers.DIGEST, facts.digest))
    return headers
