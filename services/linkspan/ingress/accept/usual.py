"""``POST /v1/messages`` in its usual form, read straight from the bytes: one look at the head, no callback a field.

What is taken here is so plain that no reader of HTTP can see anything else in it: names of fields that stand once, a
blank at most before a value and between its words, a length. Everything else is None, and left to a full parser.
"""

from __future__ import annotations

import re

import msgspec

from linkspan.kernel.telemetry.traces import valid

PATH = b"/v1/messages"
#: Bytes of a head; its fields.
LONGEST_HEAD, MOST_FIELDS = 16 * 1024, 100

_LINE = b"POST " + PATH + b" HTTP/1.1\r\n"
_START = len(_LINE)
#: Possessive, so that nothing is tried twice.
_FIELDS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++: ?[\x21-\x7e]++(?: [\x21-\x7e]++)*+\r\n)++")
_UNUSUAL = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"prefer"})


class Usual(msgspec.Struct, frozen=True):
    """``start``, ``end``: of the body in the bytes, which may not be there yet; the names of ``fields`` are lowered."""

    fields: dict[bytes, bytes]
    start: int
    end: int

    @property
    def traceparent(self) -> str | None:
        given = self.fields.get(b"traceparent")
        return None if given is None else valid(given.decode("ascii"))

    @property
    def correlation_id(self) -> str | None:
        """Unchecked."""
        given = self.fields.get(b"x-correlation-id")
        return None if given is None else given.decode("ascii")


def usual(data: bytes, longest: int) -> Usual | None:
    """The request that ``data`` begins with, if its head is there and usual, and its body no longer than ``longest``
    bytes, which must have less than six digits."""
    end = data.find(b"\r\n\r\n", 0, LONGEST_HEAD) + 2
    if not data.startswith(_LINE) or _FIELDS.fullmatch(data, _START, end) is None:
        return None
    lines = data[_START : end - 2].split(b"\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    length = fields.get(b"content-length", b"")
    if (
        len(fields) < len(lines)
        or len(fields) > MOST_FIELDS
        or not _UNUSUAL.isdisjoint(fields)
        or len(length) > 5
        or not length.isdigit()
    ):
        return None
    if not _is_json(fields.get(b"content-type", b"")) or not _stays(fields.get(b"connection")) or int(length) > longest:
        return None
    return Usual(fields, end + 2, end + 2 + int(length))


def _is_json(media_type: bytes) -> bool:
    wanted = b"application/json"
    return media_type == wanted or media_type.partition(b";")[0].strip().lower() == wanted


def _stays(connection: bytes | None) -> bool:
    return connection is None or connection.lower() == b"keep-alive"
