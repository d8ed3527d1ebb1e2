"""A digest of a build's content: two builds that say the same of the same records have the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, select

from linkspan.readmodel.tables import conversations, counters, messages, offsets, outcomes, ranges

#: What each row says beside the number of its stream, and the order that it is read in.
_READ: tuple[tuple[Table, tuple[str, ...]], ...] = (
    (messages, ("event",)),
    (outcomes, ("event", "outcome")),
    (ranges, ("outcome",)),
    (counters, ("status",)),
    (conversations, ("correlation_id",)),
)
_FETCH = 5_000
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class StreamDigest:
    """``events``, ``outcomes``: what lies below is in it; ``messages``: rows."""

    flow: str
    partition: int
    events: int
    outcomes: int
    messages: int
    digest: str


@dataclass(frozen=True, slots=True)
class Digest:
    """``digest`` is of all streams, offsets included."""

    build: int
    digest: str
    streams: tuple[StreamDigest, ...]

    @property
    def messages(self) -> int:
        return sum(stream.messages for stream in self.streams)


def digest_of(connection: Connection, build: int, progress: Callable[[int], None] = lambda _rows: None) -> Digest:
    """``progress`` is told every few thousand rows how many were read. In the caller's snapshot."""
    order = (offsets.c.flow, offsets.c.partition)
    found = connection.execute(select(offsets).where(offsets.c.build == build).order_by(*order)).all()
    streams = tuple(_stream(connection, row, progress) for row in found)
    whole = hashlib.sha256()
    for stream in streams:
        whole.update(_encode((stream.flow, stream.partition, stream.events, stream.outcomes, stream.digest)))
    return Digest(build, whole.hexdigest(), streams)


def _stream(connection: Connection, row: Any, progress: Callable[[int], None]) -> StreamDigest:
    hashed, count = hashlib.sha256(_encode((row.flow, row.partition, row.epoch))), 0
    for table, order in _READ:
        columns = [column for column in table.c if column.name != "stream"]
        wanted = select(*columns).where(table.c.stream == row.stream).order_by(*(table.c[name] for name in order))
        if table is counters:
            wanted = wanted.where(counters.c.count != 0)
        rows = connection.execute(wanted, execution_options={"yield_per": _FETCH})
        for part in rows.partitions():
            hashed.update(b"".join(_encode(tuple(values)) for values in part))
            progress(len(part))
            count += len(part) if table is messages else 0
    return StreamDigest(row.flow, row.partition, row.events, row.outcomes, count, hashed.hexdigest())
