"""The tables of the ledger. Times are microseconds since 1970; docs/ledger.md says what each is for.

A *stream* is a partition of a flow in one build of the ledger: its number stands for flow, partition and build in every
other table, which keeps keys short and lets a rebuild grow beside the live one.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, SmallInteger, String, Table, Text, text

metadata = MetaData()

#: ``state`` of a build.
BUILDING, LIVE, OLD = "building", "live", "old"
#: ``status`` of a message that has no deciding outcome, or was released since.
IN_FLIGHT = "in_flight"
#: In place of an outcome's offset: there is none, or its record is gone and a copy in ``parked`` stands for it.
NONE, PARKED = -2, -1
#: A stream of conversations belongs to no flow.
CONVERSATIONS = ""

ledger = Table(
    "ledger",
    metadata,
    Column("build", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("integration", String(128), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
)

offsets = Table(
    "offsets",
    metadata,
    Column("stream", Integer, primary_key=True, autoincrement=True),
    Column("build", Integer, nullable=False),
    Column("flow", String(128), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("source", String(128), nullable=False),
    Column("destination", String(128), nullable=False),
    # Compared and set with each batch: all below are folded.
    Column("events", BigInteger, nullable=False),
    Column("outcomes", BigInteger, nullable=False),
    Column("state", BigInteger, nullable=False),
    # The epoch in force at ``outcomes``.
    Column("epoch", BigInteger, nullable=False),
    # What the owner's last position says, and how far it may be held against the rows (outcomes are folded so far).
    Column("position", BigInteger, nullable=False),
    Column("position_outcomes", BigInteger, nullable=False),
    Column("accounted", BigInteger, nullable=False),
    # Set when another build took over: no batch of this stream commits any more.
    Column("closed", Boolean, nullable=False),
    # Where the log ended when it was last looked at.
    Column("events_end", BigInteger, nullable=False),
    Column("outcomes_end", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("offsets_build", "build", "flow", "partition", unique=True),
)

messages = Table(
    "messages",
    metadata,
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("event", BigInteger, primary_key=True, autoincrement=False),
    Column("message_id", Text),
    Column("correlation_id", Text),
    Column("key", Text),
    Column("type", Text),
    Column("priority", Text),
    Column("trace_id", Text),
    # None: the event itself is not folded (yet, or retention took it first).
    Column("size", Integer),
    Column("accepted_at", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    # Offset of the last valid outcome, and of the last that decided the status; or NONE, or PARKED.
    Column("last", BigInteger, nullable=False),
    Column("decided", BigInteger, nullable=False),
    Index("messages_accepted", "accepted_at", "stream", "event"),
    Index("messages_id", "message_id"),
    Index("messages_correlation", "correlation_id"),
    Index("messages_key", "key", "accepted_at"),
    Index(
        "messages_status",
        "status",
        "accepted_at",
        sqlite_where=text("status <> 'delivered'"),
        postgresql_where=text("status <> 'delivered'"),
    ),
    Index(
        "messages_undecided",
        "stream",
        "event",
        sqlite_where=text("decided = -2"),
        postgresql_where=text("decided = -2"),
    ),
    sqlite_with_rowid=False,
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("event", BigInteger, primary_key=True, autoincrement=False),
    Column("outcome", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("failure", String(16)),
    Column("reason", Text),
    Column("destination", Text),
    Column("sent_at", BigInteger),
    Column("transform", Text),
    Column("command", BigInteger),
    Column("plan", Text),
    Column("stale", SmallInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: ``expired`` for whole ranges of events that retention took: ``first`` to before ``until``.
ranges = Table(
    "ranges",
    metadata,
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("outcome", BigInteger, primary_key=True, autoincrement=False),
    Column("first", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    # Of them, those that have no row in messages: the counter of expired has them.
    Column("missing", BigInteger, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("status", String(16), primary_key=True),
    Column("count", BigInteger, nullable=False),
)

conversations = Table(
    "conversations",
    metadata,
    Column("stream", Integer, primary_key=True, autoincrement=False),
    Column("correlation_id", String(512), primary_key=True),
    Column("request_flow", Text, nullable=False),
    Column("request_message_id", Text),
    Column("request_at", BigInteger, nullable=False),
    Column("answer_flow", Text),
    Column("answer_message_id", Text),
    Column("answer_at", BigInteger),
    Column("due_at", BigInteger),
    Column("state", String(16), nullable=False),
    Index("conversations_requested", "request_at", "stream", "correlation_id"),
    Index("conversations_state", "state", "request_at"),
)
