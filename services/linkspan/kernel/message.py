"""Messages and their ids: what is filled in where a sender left it out, and which key decides the order."""

from __future__ import annotations

import time
from typing import Any

import uuid_utils

from linkspan.kernel.errors import Fault, InvalidMessage

#: Header and metadata fields that a sender may leave out; Linkspan fills them and records that it did.
OPTIONAL_HEADER = frozenset({"messageId", "timestamp", "version", "source", "destination", "messageType"})
OPTIONAL_METADATA = frozenset({"correlationId"})

Json = dict[str, Any]


def new_id() -> str:
    """A uuid7: sorts by time."""
    return str(uuid_utils.uuid7())


def now_micros() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1000


def text_at(message: Json, path: str) -> str | None:
    """The value at a dotted path such as ``payload.planId`` as text; None where there is none."""
    value: Any = message
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return None if value is None else str(value)


def key_of(message: Json, path: str | None) -> str:
    """The entity key of a message; without a path every message is its own lane. Raises InvalidMessage."""
    if path is None:
        return str(message["header"]["messageId"])
    key = text_at(message, path)
    if not key:
        raise InvalidMessage([Fault(path, "is the flow's key and must not be empty")])
    return key
