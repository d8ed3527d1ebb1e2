"""A request and its answer, as ``insight`` says it, in the table ``conversations``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import asdict
from sqlalchemy import Connection, case
from sqlalchemy.dialects import postgresql, sqlite

from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.errors import Poison
from linkspan.ledger.said import SEARCHED, clipped
from linkspan.readmodel.tables import conversations

#: A record replaces an earlier one whose state is not further.
RANK = {"waiting": 0, "overdue": 1, "late": 2, "answered": 2}
_SHORT = 128


class ConversationSaid(msgspec.Struct, gc=False):
    """As the table has it but for the stream. ``offset``: of its record."""

    offset: int
    correlation_id: str
    request_flow: str
    request_message_id: str | None
    request_at: int
    answer_flow: str | None
    answer_message_id: str | None
    answer_at: int | None
    due_at: int | None
    state: str


def conversation_said(record: Any, codec: RecordCodec) -> ConversationSaid | None:
    """None where it cannot be read, or takes one back."""
    try:
        found = codec.decode(record.value)
    except Poison:
        return None
    return ConversationSaid(
        record.offset,
        clipped(found["correlationId"], SEARCHED) or "",
        clipped(found["requestFlow"], _SHORT) or "",
        clipped(found["requestMessageId"], SEARCHED),
        found["requestAt"],
        clipped(found["answerFlow"], _SHORT),
        clipped(found["answerMessageId"], SEARCHED),
        found["answerAt"],
        found["dueAt"],
        found["state"],
    )


def furthest(said: Iterable[ConversationSaid]) -> list[ConversationSaid]:
    """One of each correlation id."""
    found: dict[str, ConversationSaid] = {}
    for one in said:
        known = found.get(one.correlation_id)
        if known is None or RANK.get(one.state, 0) >= RANK.get(known.state, 0):
            found[one.correlation_id] = one
    return list(found.values())


def store_conversations(connection: Connection, stream: int, said: Iterable[ConversationSaid]) -> None:
    names = [column.name for column in conversations.c if column.name not in ("stream", "correlation_id")]
    rows = []
    for one in furthest(said):
        row = asdict(one)
        del row["offset"]
        rows.append(row | {"stream": stream})
    if not rows:
        return
    made: Any = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(conversations)
    further = _rank(made.excluded.state) >= _rank(conversations.c.state)
    connection.execute(
        made.on_conflict_do_update(
            index_elements=["stream", "correlation_id"],
            set_={name: made.excluded[name] for name in names},
            where=further,
        ),
        rows,
    )


def _rank(state: Any) -> Any:
    return case(*((state == name, rank) for name, rank in RANK.items()), else_=0)
