"""What headers say of an event, as far as a selection asks."""

from __future__ import annotations

from typing import Any

import msgspec

from linkspan.kernel.records.event import RecordHeaders
from linkspan.kernel.topics import Headers


class Known(msgspec.Struct, gc=False):
    """What headers say of an event. ``accepted``: microseconds since 1970."""

    accepted: int
    key: bytes | None
    message_id: bytes | None
    correlation_id: bytes | None
    type: bytes | None

    @classmethod
    def of(cls, record: Any) -> Known:
        return cls.said(record.key, record.headers, record.timestamp)

    @classmethod
    def said(cls, key: bytes | None, headers: RecordHeaders, timestamp: int) -> Known:
        """``timestamp``: milliseconds since 1970, where no header says when it was accepted."""
        found = dict(headers)
        return cls(
            accepted_at(found.get(Headers.ACCEPTED_AT, b""), timestamp),
            key,
            found.get(Headers.MESSAGE_ID),
            found.get(Headers.CORRELATION_ID),
            found.get(Headers.TYPE),
        )


def accepted_at(said: bytes, timestamp: int) -> int:
    """Microseconds since 1970, from the header and the record's own time."""
    return int(said) if said.isdigit() else timestamp * 1000
