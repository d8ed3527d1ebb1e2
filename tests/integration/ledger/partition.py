"""A partition of the ledger without Kafka: what its records say is given to the fold."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from sqlalchemy import select

from linkspan.ledger.gather import Said
from linkspan.ledger.pipeline import Folding
from linkspan.ledger.said import EventSaid, OutcomeSaid
from linkspan.ledger.streams import Name, Stream, load_streams
from linkspan.readmodel.database import Database
from linkspan.readmodel.tables import counters, messages, outcomes, ranges

INTEGRATION: Any = SimpleNamespace(flows={"f": SimpleNamespace(from_="a", to="b")})
_partitions = itertools.count()


@dataclass(frozen=True)
class Outcome:
    kind: str
    event: int
    epoch: int
    plan: bool = False
    until: int = -1


def event_said(offset: int) -> EventSaid:
    return EventSaid(offset, f"m{offset}", f"c{offset}", "k", "T", "normal", None, 10, 1_000 + offset)


def outcome_said(offset: int, one: Outcome) -> OutcomeSaid:
    return OutcomeSaid(
        offset,
        one.event,
        one.kind,
        one.epoch,
        5_000 + offset,
        plan="p" if one.plan else None,
        until=one.until,
        message_id=f"m{one.event}",
        correlation_id=f"c{one.event}",
        key="k",
        accepted_at=1_000 + one.event,
    )


class Partition:
    """A new stream of a database that many examples share."""

    def __init__(self, database: Database, flow: str = "f") -> None:
        self.database, self.name = database, (flow, next(_partitions))
        self.streams: dict[Name, Stream] = {}
        self.load()

    def load(self) -> None:
        with self.database.writing() as connection:
            self.streams = load_streams(connection, INTEGRATION, [self.name])

    def fold(self, events: list[EventSaid], log: list[OutcomeSaid]) -> None:
        self.fold_said(Said(events, log))

    def fold_said(self, said: Said) -> None:
        Folding(self.database, self.streams).fold({self.name: said}, {})

    @property
    def number(self) -> int:
        return self.streams[self.name].number

    def rows(self) -> dict[int, Any]:
        with self.database.reading() as connection:
            return {
                row.event: row for row in connection.execute(select(messages).where(messages.c.stream == self.number))
            }

    def counters(self) -> Counter[str]:
        with self.database.reading() as connection:
            found = connection.execute(select(counters).where(counters.c.stream == self.number, counters.c.count != 0))
            return Counter({row.status: row.count for row in found})

    def content(self) -> list[Any]:
        with self.database.reading() as connection:
            return [self.counters()] + [
                [tuple(row)[1:] for row in connection.execute(select(table).where(table.c.stream == self.number))]
                for table in (messages, outcomes, ranges)
            ]
