"""A copy in ``parked``: the original bytes and headers of a message that is not delivered now, and why."""

from __future__ import annotations

from typing import Any

from linkspan.kernel.records.event import Event
from linkspan.kernel.records.fact import DEAD
from linkspan.kernel.topics import Headers

_OURS = "parked-"


def copy_key(offset: int) -> bytes:
    """Of the event ``offset``."""
    return b"%d" % offset


class Copy:
    """A record of ``parked``. ``offset``: of the event, -1 where the record is no copy; ``at`` and ``time``
    (milliseconds since 1970) of the record."""

    __slots__ = ("_headers", "_record", "at", "gone", "offset", "time")

    def __init__(self, record: Any) -> None:
        self._record, self._headers = record, dict(record.headers)
        self.time: int = record.timestamp
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
    def size(self) -> int:
        """Bytes of its content."""
        return len(self._record.value or b"")

    @property
    def dead(self) -> bool:
        """A dead letter, not a message that waits behind one."""
        return self._headers.get(Headers.PARKED_KIND) == DEAD.encode()

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """As the event had them."""
        return [(name, value) for name, value in self._headers.items() if not name.startswith(_OURS)]

    def said(self, header: str) -> str:
        found: bytes = self._headers.get(header, b"")
        return found.decode("utf-8", "replace")

    @property
    def redelivery(self) -> bool:
        """It may have been delivered before it was parked."""
        return Headers.PARKED_REDELIVERY in self._headers

    def event(self) -> Event:
        """As it was fetched once; not after ``without_content``."""
        headers = [(name, value) for name, value in self._record.headers if not name.startswith(_OURS)]
        event = Event.made(self.offset, self.key, self._record.value, headers, self._record.timestamp)
        event.letter = self.dead
        return event
