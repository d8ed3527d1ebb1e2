"""The questions that the ledger answers, each in one snapshot of the live build."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, and_, func, literal_column, or_, select, tuple_

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.telemetry.metrics import LEDGER_QUERY_SECONDS
from linkspan.readmodel.database import Database, live_build
from linkspan.readmodel.paging import Mark, mark_of, page_size, token_of
from linkspan.readmodel.rows import (
    ConversationFilter,
    ConversationRow,
    Folded,
    MessageFilter,
    MessageRow,
    StatusCount,
    TimelineRow,
    Unaccounted,
)
from linkspan.readmodel.tables import (
    CONVERSATIONS,
    IN_FLIGHT,
    NONE,
    conversations,
    counters,
    messages,
    offsets,
    outcomes,
)
from linkspan.readmodel.tally import STATUSES

T = TypeVar("T")

#: As the fold keeps them: what is searched for is cut likewise.
_SEARCHED = 500
_KNOWN = (IN_FLIGHT, *STATUSES)


@dataclass(frozen=True, slots=True)
class _Stream:
    number: int
    flow: str
    partition: int
    source: str
    destination: str


class Queries:
    """Raises DatabaseAway, and UserMistake for what cannot be asked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def messages(self, wanted: MessageFilter, limit: int, page_token: str) -> tuple[list[MessageRow], str]:
        """The last accepted first, and the token of the next page, "" at the end."""
        if wanted.status is not None and wanted.status not in _KNOWN:
            raise UserMistake(f"status: there is no {wanted.status}; there are {', '.join(_KNOWN)}")
        mark, size = mark_of(page_token), page_size(limit)
        return await self._ask("messages", lambda ask: ask.messages(wanted, mark, size))

    async def message(self, message_id: str) -> list[MessageRow]:
        """All events of that id, the last accepted first: a message that came twice is there twice."""
        wanted = messages.c.message_id == message_id[:_SEARCHED]
        return await self._ask("message", lambda ask: ask.listed(_messages().where(wanted).order_by(*_NEWEST)))

    async def event(self, flow: str, partition: int, offset: int) -> list[MessageRow]:
        """Empty, or the one."""
        return await self._ask("event", lambda ask: ask.event(flow, partition, offset))

    async def timeline(self, flow: str, partition: int, offset: int) -> list[TimelineRow]:
        """Empty where the ledger does not know that event."""
        return await self._ask("timeline", lambda ask: ask.timeline(flow, partition, offset))

    async def counts(self, flow: str | None) -> list[StatusCount]:
        return await self._ask("counts", lambda ask: ask.counts(flow))

    async def unaccounted(self, flow: str | None, limit: int = 100) -> list[Unaccounted]:
        """By flow, partition and offset."""
        size = page_size(limit)
        return await self._ask("unaccounted", lambda ask: ask.unaccounted(flow, size))

    async def conversations(
        self, wanted: ConversationFilter, limit: int, page_token: str
    ) -> tuple[list[ConversationRow], str]:
        """The last asked first, and the token of the next page, "" at the end."""
        mark, size = mark_of(page_token), page_size(limit)
        return await self._ask("conversations", lambda ask: ask.conversations(wanted, mark, size))

    async def folded(self) -> list[Folded]:
        """How far every other answer goes; by flow and partition."""
        return await self._ask("folded", lambda ask: ask.folded())

    async def _ask(self, name: str, question: Callable[[_Asked], T]) -> T:
        with LEDGER_QUERY_SECONDS.labels(name).time():
            return await self._database.read(lambda connection: question(_Asked(connection)))


_NEWEST = (messages.c.accepted_at.desc(), messages.c.stream.desc(), messages.c.event.desc())


def _messages() -> Select[Any]:
    """With the last valid outcome."""
    last = and_(
        outcomes.c.stream == messages.c.stream,
        outcomes.c.event == messages.c.event,
        outcomes.c.outcome == messages.c.last,
    )
    said = (outcomes.c.at, outcomes.c.attempt, outcomes.c.failure, outcomes.c.reason, outcomes.c.transform)
    return select(messages, *said).select_from(messages.outerjoin(outcomes, last))


class _Asked:
    """Within one snapshot."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        columns = (offsets.c.stream, offsets.c.flow, offsets.c.partition, offsets.c.source, offsets.c.destination)
        build = live_build(connection)
        found = connection.execute(select(*columns).where(offsets.c.build == (-1 if build is None else build)))
        self._streams = {row[0]: _Stream(*row) for row in found}
        self._numbers = {(one.flow, one.partition): one.number for one in self._streams.values()}

    def _of(self, flow: str | None) -> list[int]:
        """Numbers of the flow's streams, or of all flows'."""
        return [one.number for one in self._streams.values() if one.flow != CONVERSATIONS and flow in (None, one.flow)]

    def messages(self, wanted: MessageFilter, mark: Mark | None, size: int) -> tuple[list[MessageRow], str]:
        # "+ 0" keeps both databases from choosing the primary key, and sorting all of a flow.
        asked = _messages().where((messages.c.stream + 0).in_(self._of(wanted.flow)))
        for column in (messages.c.type, messages.c.key, messages.c.message_id, messages.c.correlation_id):
            value = getattr(wanted, column.name)
            if value is not None:
                asked = asked.where(column == value[:_SEARCHED])
        if wanted.status is not None:
            asked = asked.where(messages.c.status == wanted.status)
            if wanted.status != "delivered":  # said so that the partial index fits
                asked = asked.where(messages.c.status != literal_column("'delivered'"))
        if wanted.since is not None:
            asked = asked.where(messages.c.accepted_at >= wanted.since)
        if wanted.until is not None:
            asked = asked.where(messages.c.accepted_at < wanted.until)
        if mark is not None:
            here = (mark.at, self._numbers.get((mark.flow, mark.partition), 0), mark.last)
            place = tuple_(messages.c.accepted_at, messages.c.stream, messages.c.event)
            asked = asked.where(place < tuple_(*here))
        rows = self.listed(asked.order_by(*_NEWEST).limit(size + 1))
        if len(rows) <= size:
            return rows, ""
        last = rows[size - 1]
        return rows[:size], token_of(Mark(last.accepted_at, last.flow, last.partition, last.offset))

    def event(self, flow: str, partition: int, offset: int) -> list[MessageRow]:
        number = self._numbers.get((flow, partition))
        if number is None:
            return []
        return self.listed(_messages().where(messages.c.stream == number, messages.c.event == offset))

    def listed(self, asked: Select[Any]) -> list[MessageRow]:
        """Rows of the live build; another one may have them too."""
        return [
            self._message(row, self._streams[row.stream])
            for row in self._connection.execute(asked)
            if row.stream in self._streams
        ]

    @staticmethod
    def _message(row: Any, stream: _Stream) -> MessageRow:
        decided = None if row.status == IN_FLIGHT else row.at
        return MessageRow(
            stream.flow,
            stream.partition,
            row.event,
            row.message_id,
            row.correlation_id,
            row.key,
            row.type,
            stream.source,
            stream.destination,
            row.priority,
            row.status,
            row.accepted_at,
            decided,
            decided if row.status == "delivered" else None,
            row.attempt or 0,
            row.failure,
            row.reason,
            row.size,
            row.transform,
            row.trace_id,
        )

    def timeline(self, flow: str, partition: int, offset: int) -> list[TimelineRow]:
        number = self._numbers.get((flow, partition))
        here = and_(messages.c.stream == number, messages.c.event == offset)
        accepted = self._connection.scalar(select(messages.c.accepted_at).where(here))
        if number is None or accepted is None:
            return []
        of_event = and_(outcomes.c.stream == number, outcomes.c.event == offset)
        found = self._connection.execute(select(outcomes).where(of_event).order_by(outcomes.c.outcome))
        first = TimelineRow(
            "accepted", accepted, 0, 0, None, None, None, None, None, None, None, partition, offset, stale=False
        )
        return [first, *(_timeline_row(row, partition) for row in found)]

    def counts(self, flow: str | None) -> list[StatusCount]:
        wanted = select(counters).where(counters.c.stream.in_(self._of(flow)), counters.c.count != 0)
        found = [
            StatusCount(self._streams[stream].flow, self._streams[stream].partition, status, count)
            for stream, status, count in self._connection.execute(wanted)
        ]
        return sorted(found, key=lambda one: (one.flow, one.partition, one.status))

    def unaccounted(self, flow: str | None, size: int) -> list[Unaccounted]:
        here = and_(offsets.c.stream == messages.c.stream, messages.c.event < offsets.c.accounted)
        columns = (messages.c.stream, messages.c.event, messages.c.message_id, messages.c.accepted_at)
        asked = select(*columns).select_from(messages.join(offsets, here))
        asked = asked.where(
            messages.c.decided == literal_column(str(NONE)), messages.c.stream.in_(self._of(flow))
        ).order_by(offsets.c.flow, offsets.c.partition, messages.c.event)
        return [
            Unaccounted(self._streams[stream].flow, self._streams[stream].partition, *rest)
            for stream, *rest in self._connection.execute(asked.limit(size))
        ]

    def conversations(
        self, wanted: ConversationFilter, mark: Mark | None, size: int
    ) -> tuple[list[ConversationRow], str]:
        table = conversations.c
        streams = [one.number for one in self._streams.values() if one.flow == CONVERSATIONS]
        asked = select(conversations).where((table.stream + 0).in_(streams))
        named = ((table.request_flow, wanted.flow), (table.state, wanted.state))
        for column, value in (*named, (table.correlation_id, (wanted.correlation_id or "")[:_SEARCHED] or None)):
            if value is not None:
                asked = asked.where(column == value)
        if wanted.since is not None:
            asked = asked.where(table.request_at >= wanted.since)
        if wanted.until is not None:
            asked = asked.where(table.request_at < wanted.until)
        if mark is not None:
            number = self._numbers.get((CONVERSATIONS, mark.partition), 0)
            later = and_(table.stream == number, table.correlation_id < str(mark.last))
            same = and_(table.request_at == mark.at, or_(table.stream < number, later))
            asked = asked.where(or_(table.request_at < mark.at, same))
        order = (table.request_at.desc(), table.stream.desc(), table.correlation_id.desc())
        rows = self._connection.execute(asked.order_by(*order).limit(size + 1)).all()
        found = [ConversationRow(*row[1:]) for row in rows[:size]]
        if len(rows) <= size:
            return found, ""
        last = rows[size - 1]
        partition = self._streams[last.stream].partition
        return found, token_of(Mark(last.request_at, CONVERSATIONS, partition, last.correlation_id))

    def folded(self) -> list[Folded]:
        wanted = select(offsets).where(offsets.c.stream.in_(self._of(None)))
        found = [
            Folded(
                row.flow,
                row.partition,
                row.events,
                row.outcomes,
                max(0, row.events_end - row.events) + max(0, row.outcomes_end - row.outcomes),
                row.at,
            )
            for row in self._connection.execute(wanted)
        ]
        return sorted(found, key=lambda one: (one.flow, one.partition))


def _timeline_row(row: Any, partition: int) -> TimelineRow:
    return TimelineRow(
        row.kind,
        row.at,
        row.epoch,
        row.attempt,
        row.failure,
        row.reason,
        row.destination,
        row.sent_at,
        row.transform,
        row.command,
        row.plan,
        partition,
        row.outcome,
        bool(row.stale),
    )


def unaccounted(connection: Connection, stream: int, below: int) -> int:
    """How many of a stream's events before offset ``below`` have no outcome that decided."""
    undecided = and_(messages.c.stream == stream, messages.c.decided == literal_column(str(NONE)))
    wanted = select(func.count()).select_from(messages).where(undecided, messages.c.event < below)
    return connection.scalar(wanted) or 0
