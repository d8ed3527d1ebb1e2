"""Folded batches in SQL: each is one transaction that begins with comparing and setting the offsets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import asdict
from sqlalchemy import Connection, and_, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from linkspan.kernel.message import now_micros
from linkspan.ledger.bulk import add_rows, decide, describe
from linkspan.ledger.fold import EXPIRED, Fold, Progress, Range, expired
from linkspan.ledger.streams import Closed, Stream
from linkspan.readmodel.tables import IN_FLIGHT, NONE, counters, messages, offsets, outcomes, ranges


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the log of events and of outcomes ends."""

    events: int = 0
    outcomes: int = 0


def commit(connection: Connection, folds: Mapping[int, Fold], ends: Mapping[int, Ends]) -> None:
    """By the number of their streams, in the caller's transaction. Raises Closed, and then it must be rolled back."""
    for number in sorted(folds):
        fold = folds[number]
        advance(connection, number, fold.before, fold.progress, ends.get(number, Ends()))
    changed = [(row, row.event in fold.described) for fold in folds.values() for row in fold.changed.values()]
    add_rows(connection, messages, [row for fold in folds.values() for row in fold.new.values()])
    decide(connection, [row for row, described in changed if not described])
    describe(connection, [row for row, described in changed if described])
    add_rows(connection, outcomes, [row for fold in folds.values() for row in fold.outcomes], repeats=True)
    for number, fold in folds.items():
        count(connection, number, fold.counters)
        for outcome, filled in fold.filled.items():
            here = and_(ranges.c.stream == number, ranges.c.outcome == outcome)
            connection.execute(update(ranges).where(here).values(missing=ranges.c.missing - filled))


def advance(connection: Connection, number: int, before: Progress, after: Progress, ends: Ends) -> None:
    """Raises Closed where the offsets are not what they were ``before``."""
    here = and_(
        offsets.c.stream == number,
        offsets.c.events == before.events,
        offsets.c.outcomes == before.outcomes,
        offsets.c.state == before.state,
        offsets.c.closed.is_(False),
    )
    said = asdict(after) | {"at": now_micros()}
    if ends.events or ends.outcomes:
        said |= {"events_end": ends.events, "outcomes_end": ends.outcomes}
    if connection.execute(update(offsets).where(here).values(said)).rowcount != 1:
        raise Closed(f"stream {number} is not at {before.events} and {before.outcomes} any more")


def tell(connection: Connection, ends: Mapping[int, Ends]) -> None:
    """That nothing came, and where the logs end. Raises Closed where another build took over."""
    said = [
        {"s": number, "e": end.events, "o": end.outcomes, "t": now_micros()} for number, end in sorted(ends.items())
    ]
    of_them = and_(offsets.c.stream.in_(ends), offsets.c.closed.is_(True))
    if connection.scalar(select(func.count()).select_from(offsets).where(of_them)):
        raise Closed("another build took over")
    if said:
        change = update(offsets).where(offsets.c.stream == bindparam("s"), offsets.c.closed.is_(False))
        connection.execute(
            change.values(events_end=bindparam("e"), outcomes_end=bindparam("o"), at=bindparam("t")), said
        )


def commit_range(connection: Connection, stream: Stream, fold: Fold, found: Range) -> Range:
    """``fold`` has nothing but the range: what is stored of it without a decision is expired, the rest is counted."""
    advance(connection, stream.number, fold.before, fold.progress, Ends())
    inside = and_(messages.c.stream == stream.number, messages.c.event >= found.first, messages.c.event < found.until)
    rows = connection.scalar(select(func.count()).select_from(messages).where(inside)) or 0
    open_ones = list(connection.scalars(select(messages.c.event).where(inside, messages.c.decided == NONE)))
    add_rows(connection, outcomes, [expired(stream.number, event, found) for event in open_ones])
    change = update(messages).where(inside, messages.c.decided == NONE)
    connection.execute(change.values(status=EXPIRED, decided=found.outcome, last=found.outcome))
    found.missing = found.until - found.first - rows
    add_rows(connection, ranges, [found])
    count(
        connection,
        stream.number,
        {IN_FLIGHT: -len(open_ones), EXPIRED: len(open_ones) + found.missing},
    )
    return found


def count(connection: Connection, number: int, changes: Mapping[str, int]) -> None:
    rows = [{"stream": number, "status": status, "count": n} for status, n in sorted(changes.items()) if n]
    if not rows:
        return
    made: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(counters)
    added = counters.c.count + made.excluded.count
    connection.execute(made.on_conflict_do_update(index_elements=["stream", "status"], set_={"count": added}), rows)
