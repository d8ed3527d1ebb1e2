"""Removes what is old and done with, a little at a time, and what is left of builds that were replaced."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import structlog
from sqlalchemy import Connection, and_, delete, func, select, update

from linkspan.kernel.message import now_micros
from linkspan.kernel.records.fact import DEAD
from linkspan.kernel.telemetry import metrics
from linkspan.ledger.fold import EXPIRED
from linkspan.ledger.store import count
from linkspan.ledger.streams import Closed, Name, Stream
from linkspan.readmodel.database import Database
from linkspan.readmodel.queries import unaccounted
from linkspan.readmodel.tables import (
    CONVERSATIONS,
    IN_FLIGHT,
    OLD,
    conversations,
    counters,
    ledger,
    messages,
    offsets,
    outcomes,
    ranges,
)

log = structlog.get_logger()

_EVERY = 600.0
#: Unaccounted events are counted so often, seconds.
_LOOK = 10.0
_BATCH = 1_000
_DAY = 24 * 3600 * 1_000_000
#: Nobody has decided about these: they stay, however old.
_WAITING = (IN_FLIGHT, "held", DEAD)


class Keeper:
    """Of the streams that this worker folds: nobody else changes their rows."""

    def __init__(self, database: Database, streams: Mapping[Name, Stream], days: float) -> None:
        self._database, self._streams, self._days = database, streams, days
        self._next = self._look = 0.0
        self._left: list[Stream] = []

    async def keep(self) -> None:
        """A batch, where it is time for it. Raises DatabaseAway, Closed."""
        now = asyncio.get_running_loop().time()
        if now >= self._look:
            self._look = now + _LOOK
            await self._tell()
        if not self._left:
            if now < self._next:
                return
            self._next, self._left = now + _EVERY, list(self._streams.values())
            if await self._database.write(remove_old_build):
                self._next = now + 1.0
        stream, before = self._left[-1], now_micros() - int(self._days * _DAY)
        removed = await self._database.write(lambda connection: remove_older(connection, stream, before))
        if removed:
            metrics.LEDGER_REMOVED.inc(removed)
            stream.ranges = [one for one in stream.ranges if one.at >= before]
        if removed < _BATCH:
            self._left.pop()

    async def _tell(self) -> None:
        for flow, missing in (await self._database.read(self._unaccounted)).items():
            metrics.LEDGER_UNACCOUNTED.labels(flow).set(missing)
        at = now_micros()
        for flow, (waiting, oldest) in (await self._database.read(self._letters)).items():
            metrics.DEAD_LETTERS_WAITING.labels(flow).set(waiting)
            age = 0.0 if oldest is None else max(0, at - oldest) / 1e6
            metrics.DEAD_LETTER_OLDEST_SECONDS.labels(flow).set(age)

    def _letters(self, connection: Connection) -> dict[str, tuple[int, int | None]]:
        """How many wait for a decision, and when the one that was accepted first was recorded, microseconds since
        1970."""
        numbers: dict[str, list[int]] = {}
        for (flow, _), stream in self._streams.items():
            if flow != CONVERSATIONS:
                numbers.setdefault(flow, []).append(stream.number)
        return {flow: dead_letters(connection, streams) for flow, streams in numbers.items()}

    def _unaccounted(self, connection: Connection) -> dict[str, int]:
        found = {flow: 0 for flow, _ in self._streams if flow != CONVERSATIONS}
        for (flow, _), stream in self._streams.items():
            if flow != CONVERSATIONS:
                found[flow] += unaccounted(connection, stream.number, stream.progress.accounted)
        return found


def dead_letters(connection: Connection, streams: list[int]) -> tuple[int, int | None]:
    """Of one flow's streams; a query that stays short however many there are."""
    waiting = select(func.sum(counters.c.count)).where(counters.c.stream.in_(streams), counters.c.status == DEAD)
    dead = and_(messages.c.status == DEAD, messages.c.stream.in_(streams))
    decided = and_(
        outcomes.c.stream == messages.c.stream,
        outcomes.c.event == messages.c.event,
        outcomes.c.outcome == messages.c.decided,
    )
    at = func.coalesce(outcomes.c.at, messages.c.accepted_at)
    first = select(at).select_from(messages.outerjoin(outcomes, decided)).where(dead)
    oldest = connection.scalar(first.order_by(messages.c.accepted_at).limit(1))
    return int(connection.scalar(waiting) or 0), oldest


def remove_older(connection: Connection, stream: Stream, before: int) -> int:
    """Removes up to a batch of messages accepted before ``before`` (microseconds), and takes them off the counters, so
    that these say what the tables hold. Returns how many."""
    here = update(offsets).where(offsets.c.stream == stream.number, offsets.c.closed.is_(False))
    if connection.execute(here.values(stream=stream.number)).rowcount != 1:
        raise Closed(f"stream {stream.number} is closed")
    old = and_(messages.c.accepted_at < before, messages.c.stream == stream.number)
    found = connection.execute(
        select(messages.c.event, messages.c.status).where(old, messages.c.status.not_in(_WAITING)).limit(_BATCH)
    ).all()
    events = [event for event, _ in found]
    if events:
        for table in (messages, outcomes):
            connection.execute(delete(table).where(table.c.stream == stream.number, table.c.event.in_(events)))
        count(connection, stream.number, {status: -n for status, n in Counter(status for _, status in found).items()})
    if len(events) < _BATCH:
        gone = and_(ranges.c.stream == stream.number, ranges.c.at < before)
        count(connection, stream.number, {EXPIRED: -sum(connection.scalars(select(ranges.c.missing).where(gone)))})
        connection.execute(delete(ranges).where(gone))
        asked = and_(conversations.c.stream == stream.number, conversations.c.request_at < before)
        connection.execute(delete(conversations).where(asked))
    return len(events)


def remove_old_build(connection: Connection, batch: int = 5_000) -> bool:
    """Removes a part of a build that was replaced; whether there may be more."""
    build = connection.scalar(select(ledger.c.build).where(ledger.c.state == OLD).limit(1))
    if build is None:
        return False
    stream = connection.scalar(select(offsets.c.stream).where(offsets.c.build == build).limit(1))
    if stream is None:
        connection.execute(delete(ledger).where(ledger.c.build == build))
        return True
    for table in (messages, outcomes):
        end = connection.scalar(
            select(table.c.event).where(table.c.stream == stream).order_by(table.c.event).offset(batch).limit(1)
        )
        if end is not None:
            connection.execute(delete(table).where(table.c.stream == stream, table.c.event < end))
            return True
        connection.execute(delete(table).where(table.c.stream == stream))
    for other in (ranges, counters, conversations, offsets):
        connection.execute(delete(other).where(other.c.stream == stream))
    return True
