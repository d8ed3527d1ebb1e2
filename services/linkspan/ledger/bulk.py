"""Many rows by one statement, past SQLAlchemy's handling of each row's parameters: that took half of the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import Connection, Dialect, Table, and_, bindparam, insert, update
from sqlalchemy.dialects import postgresql, sqlite

from linkspan.readmodel.tables import messages

#: Before the name of a parameter that is not a new column's value by itself.
_MARK = "to_"
_DECIDED = ("status", "last", "decided")
_DESCRIBED = (
    *("message_id", "correlation_id", "key", "type", "priority", "trace_id", "size", "accepted_at"),
    *_DECIDED,
)


def add_rows(connection: Connection, table: Table, rows: Sequence[msgspec.Struct], *, repeats: bool = False) -> None:
    """Each field is a column. ``repeats``: some may be there already, the same."""
    _run(connection, (table.name, repeats), rows)


def decide(connection: Connection, rows: Sequence[msgspec.Struct]) -> None:
    """What an outcome changes of a message: few columns, and most indexes hold none of them."""
    _run(connection, _DECIDED, rows)


def describe(connection: Connection, rows: Sequence[msgspec.Struct]) -> None:
    """Where the event itself came after its outcome."""
    _run(connection, _DESCRIBED, rows)


def _run(connection: Connection, what: tuple[Any, ...], rows: Sequence[msgspec.Struct]) -> None:
    if not rows:
        return
    text, names, values = _statement(connection.dialect, what)
    if names:
        connection.exec_driver_sql(text, [dict(zip(names, values(row), strict=True)) for row in rows])
    else:
        connection.exec_driver_sql(text, [values(row) for row in rows])


@lru_cache
def _statement(
    dialect: Dialect, what: tuple[Any, ...]
) -> tuple[str, tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """Its text, the names of its parameters where they have any, and their values from a row."""
    compiled = _made(dialect, what).compile(dialect=dialect)
    names = tuple(compiled.positiontup or compiled.params)
    values = attrgetter(*(name.removeprefix(_MARK) for name in names))
    return str(compiled), () if compiled.positiontup else names, values


def _made(dialect: Dialect, what: tuple[Any, ...]) -> Any:
    if what in (_DECIDED, _DESCRIBED):
        here = and_(
            messages.c.stream == bindparam(f"{_MARK}stream"),
            messages.c.event == bindparam(f"{_MARK}event"),
        )
        return update(messages).where(here).values({name: bindparam(_MARK + name) for name in what})
    table = messages.metadata.tables[what[0]]
    if not what[1]:
        return insert(table)
    made: Any = (sqlite if dialect.name == "sqlite" else postgresql).insert(table)
    return made.on_conflict_do_nothing()
