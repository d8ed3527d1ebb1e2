"""The streams of a build: which there are, how far each is folded, and what is remembered of their rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from sqlalchemy import ColumnElement, Connection, func, insert, select

from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.message import now_micros
from linkspan.kernel.spec import Integration
from linkspan.ledger.fold import Progress, Range, Row
from linkspan.readmodel.database import live_build
from linkspan.readmodel.tables import CONVERSATIONS, NONE, messages, offsets, ranges

#: (flow, partition); the flow is CONVERSATIONS where it is none.
Name = tuple[str, int]
#: Undecided rows of a stream that are remembered; of others the database is asked.
_REMEMBERED = 20_000
#: Offsets asked for in one statement: SQLite takes 32,766 parameters.
_ASKED = 10_000
_ROW = tuple(getattr(messages.c, name) for name in Row.__struct_fields__)
_PROGRESS = tuple(getattr(offsets.c, name) for name in Progress.__struct_fields__)


class Closed(LinkspanError):
    """Another build has taken over, or another worker has folded this: what is known has to be read again."""


class Stream:
    """``highest``: no row lies above. One worker folds it at a time, which comparing and setting its offsets proves."""

    def __init__(self, number: int, name: Name, progress: Progress, highest: int, known: Iterable[Range]) -> None:
        self.number, self.name, self.progress, self.highest = number, name, progress, highest
        self.ranges = list(known)
        self._open: dict[int, Row] = {}

    def remember(self, rows: Iterable[Row]) -> None:
        """As they are stored now."""
        for row in rows:
            self.highest = max(self.highest, row.event)
            if row.decided == NONE:
                self._open[row.event] = row
            else:
                self._open.pop(row.event, None)
        while len(self._open) > _REMEMBERED:
            del self._open[next(iter(self._open))]

    def forget(self) -> None:
        """Rows changed in the database by other ways than a fold."""
        self._open.clear()

    def known(self, connection: Connection, events: Iterable[int]) -> dict[int, Row]:
        """Stored rows of these events."""
        found: dict[int, Row] = {}
        asked: list[int] = []
        for event in events:
            if event > self.highest:
                continue
            row = self._open.get(event)
            if row is None:
                asked.append(event)
            else:
                found[event] = row
        for start in range(0, len(asked), _ASKED):
            part = asked[start : start + _ASKED]
            wanted = select(*_ROW).where(messages.c.stream == self.number, _among(part))
            for values in connection.execute(wanted):
                row = Row(*values)
                found[row.event] = row
        return found


def _among(events: list[int]) -> ColumnElement[bool]:
    """A range reads faster than a list, where most of it is wanted."""
    low, high = min(events), max(events)
    if high - low < 2 * len(events):
        return messages.c.event.between(low, high)
    return messages.c.event.in_(events)


def load_streams(
    connection: Connection, integration: Integration, wanted: Iterable[Name], build: int | None = None
) -> dict[Name, Stream]:
    """Of ``build``, by default the live one; those that are new begin. Raises Closed where there is none."""
    build = live_build(connection) if build is None else build
    if build is None:
        raise Closed("the ledger has no live build")
    names = sorted(set(wanted))
    there = _stored(connection, build)
    for name in names:
        if name not in there:
            connection.execute(insert(offsets).values(_fresh(integration, build, name)))
    there = _stored(connection, build)
    return {name: _loaded(connection, name, *there[name]) for name in names}


def _stored(connection: Connection, build: int) -> Mapping[Name, tuple[int, Progress]]:
    wanted = select(offsets.c.flow, offsets.c.partition, offsets.c.stream, *_PROGRESS).where(offsets.c.build == build)
    return {
        (flow, partition): (stream, Progress(*progress))
        for flow, partition, stream, *progress in connection.execute(wanted)
    }


def _loaded(connection: Connection, name: Name, number: int, progress: Progress) -> Stream:
    highest = connection.scalar(select(func.max(messages.c.event)).where(messages.c.stream == number))
    columns = tuple(getattr(ranges.c, field) for field in Range.__struct_fields__)
    known = connection.execute(select(*columns).where(ranges.c.stream == number).order_by(ranges.c.outcome))
    return Stream(number, name, progress, -1 if highest is None else highest, (Range(*values) for values in known))


def _fresh(integration: Integration, build: int, name: Name) -> dict[str, object]:
    flow = None if name[0] == CONVERSATIONS else integration.flows[name[0]]
    return {
        "build": build,
        "flow": name[0],
        "partition": name[1],
        "source": flow.from_ if flow else "",
        "destination": flow.to if flow else "",
        **msgspec.structs.asdict(Progress()),
        "closed": False,
        "events_end": 0,
        "outcomes_end": 0,
        "at": now_micros(),
    }
