"""Folded batches in SQL: each is one transaction that begins with comparing and setting the offsets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import asdict
from sqlalchemy import Connection, Table, and_, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from linkspan.kernel.message import now_micros
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
    _insert(connection, messages, [asdict(row) for fold in folds.values() for row in fold.new.values()])
    _update_messages(connection, folds.values())
    _insert(connection, outcomes, [asdict(row) for fold in folds.values() for row in fold.outcomes], repeats=True)
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
    """That nothing came, and where the logs end."""
    said = [
        {"s": number, "e": end.events, "o": end.outcomes, "t": now_micros()} for number, end in sorted(ends.items())
    ]
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
    _insert(connection, outcomes, [asdict(expired(stream.number, event, found)) for event in open_ones])
    change = update(messages).where(inside, messages.c.decided == NONE)
    connection.execute(change.values(status=EXPIRED, decided=found.outcome, last=found.outcome))
    found.missing = found.until - found.first - rows
    _insert(connection, ranges, [asdict(found)])
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


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, repeats: bool = False) -> None:
    """``repeats``: some may be there already, the same."""
    if not rows:
        return
    if not repeats:
        connection.execute(insert(table), rows)
        return
    made: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
    connection.execute(made.on_conflict_do_nothing(), rows)


def _update_messages(connection: Connection, folds: Iterable[Fold]) -> None:
    """An outcome changes few columns, and most indexes hold none of them."""
    decided: list[dict[str, Any]] = []
    described: list[dict[str, Any]] = []
    for fold in folds:
        for row in fold.changed.values():
            if row.event in fold.described:
                described.append({f"to_{name}": value for name, value in asdict(row).items()})
            else:
                decided.append(
                    {
                        "to_stream": row.stream,
                        "to_event": row.event,
                        "to_status": row.status,
                        "to_last": row.last,
                        "to_decided": row.decided,
                    }
                )
    here = and_(messages.c.stream == bindparam("to_stream"), messages.c.event == bindparam("to_event"))
    for said in (decided, described):
        if said:
            names = [name.removeprefix("to_") for name in said[0]][2:]
            change = update(messages).where(here).values({name: bindparam(f"to_{name}") for name in names})
            connection.execute(change, said)
