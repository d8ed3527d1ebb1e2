"""A copy in ``parked``: the original bytes and headers of a message that is not delivered now, and why."""

from __future__ import annotations

from typing import Any

from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.fact import DEAD
from linkspan.egress.partition.lanes import Message
from linkspan.egress.record.outcome import Event, RecordHeaders, message_of
from linkspan.kernel.message import now_micros
from linkspan.kernel.topics import Headers

_OURS = "parked-"


def parked_copy(effect: Record, facts: Event, epoch: int) -> tuple[bytes, bytes, RecordHeaders]:
    """Key, value and headers. An event without a value is kept as one without bytes: null would be a tombstone."""
    message, error = effect.message, effect.error
    headers = [*facts.headers]
    headers += [
        (Headers.PARKED_KIND, effect.kind.encode()),
        (Headers.PARKED_AT, b"%d" % now_micros()),
        (Headers.PARKED_EPOCH, b"%d" % epoch),
        (Headers.PARKED_ATTEMPTS, b"%d" % message.charged),
    ]
    if message.key is not None:
        headers.append((Headers.PARKED_KEY, message.key))
    if message.redelivery:
        headers.append((Headers.PARKED_REDELIVERY, b"1"))
    if error is not None:
        headers.append((Headers.PARKED_FAILURE, error.failure.value.encode()))
        headers.append((Headers.PARKED_REASON, error.reason.encode()))
    return copy_key(message.offset), facts.value or b"", headers


def copy_key(offset: int) -> bytes:
    """Of the event ``offset``."""
    return b"%d" % offset


class Copy:
    """A record of ``parked``. ``offset``: of the event, -1 where the record is no copy; ``at``: of the record."""

    __slots__ = ("_headers", "_record", "at", "gone", "offset")

    def __init__(self, record: Any) -> None:
        self._record, self._headers = record, dict(record.headers)
        self.gone = record.value is None  # a tombstone
        self.at: int = record.offset
        self.offset = int(record.key) if record.key is not None and record.key.isdigit() else -1

    def without_content(self) -> Copy:
        """What the headers say alone: many of them fit into memory."""
        self._record = None
        return self

    @property
    def key(self) -> bytes | None:
        found: bytes | None = self._headers.get(Headers.PARKED_KEY)
        return found

    @property
    def dead(self) -> bool:
        """A dead letter, not a message that waits behind one."""
        return self._headers.get(Headers.PARKED_KIND) == DEAD.encode()

    def said(self, header: str) -> str:
        found: bytes = self._headers.get(header, b"")
        return found.decode("utf-8", "replace")

    def message(self) -> Message:
        """The message as it was fetched once."""
        headers = [(name, value) for name, value in self._record.headers if not name.startswith(_OURS)]
        event = Event.made(self.offset, self.key, self._record.value, headers, self._record.timestamp)
        message = message_of(event)
        message.redelivery = Headers.PARKED_REDELIVERY in self._headers
        return message
