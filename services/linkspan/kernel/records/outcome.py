"""An outcome as it stands in its topic."""

from __future__ import annotations

from typing import Any

from linkspan.kernel.records.event import hash64
from linkspan.kernel.records.fact import Fact
from linkspan.kernel.topics import Headers


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
        _number(found.get(Headers.ACCEPTED_AT), 0),
        Headers.FLUSHED in found,
    )


def plan_of(record: Any) -> tuple[str, int]:
    """The replay plan that an outcome is of, empty where it is a message's own; and where its range ends, -1: none."""
    found = dict(record.headers)
    return found.get(Headers.PLAN, b"").decode("utf-8", "replace"), _number(found.get(Headers.UNTIL), -1)


def _number(value: bytes | None, otherwise: int) -> int:
    return int(value) if value is not None and value.isdigit() else otherwise
