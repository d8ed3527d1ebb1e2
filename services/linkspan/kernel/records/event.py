"""An event as it stands in its topic."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from linkspan.kernel.records.urgency import CRITICAL, HIGH, LOW, NORMAL
from linkspan.kernel.topics import Headers

_URGENCY = {b"low": LOW, b"high": HIGH, b"critical": CRITICAL}
RecordHeaders = list[tuple[str, bytes]]
_64_BITS = 2**64 - 1
#: Odd, so that no two times give the same.
_SPREAD = 0x9E3779B97F4A7C15


class Event(msgspec.Struct):
    """A fetched event and what its record headers say. ``accepted_at``: microseconds since 1970.

    ``refused``: the value is no event but an item that ingress could not refuse; why it is no message. ``letter``: it
    was a dead letter, and comes from ``parked``.
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
    letter: bool = False

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


def hash64(message_id: bytes) -> int:
    return int.from_bytes(blake2b(message_id, digest_size=8).digest())


def acceptance64(message_id: int, accepted_at: int) -> int:
    """Of a message accepted once: the copies that a spool appends twice have it in common, a message that its sender
    sends again does not. ``message_id``: its hash; ``accepted_at``: microseconds since 1970."""
    return (message_id ^ accepted_at * _SPREAD) & _64_BITS


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
