"""The first tables of the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _builds()
    _messages()
    _outcomes()
    _conversations()


def _builds() -> None:
    op.create_table(
        "ledger",
        sa.Column("build", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("integration", sa.String(128), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
    )
    numbers = ("events", "outcomes", "state", "epoch", "position", "position_outcomes", "accounted")
    op.create_table(
        "offsets",
        sa.Column("stream", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("build", sa.Integer(), nullable=False),
        sa.Column("flow", sa.String(128), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(128), nullable=False),
        sa.Column("destination", sa.String(128), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in numbers),
        sa.Column("closed", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("events_end", "outcomes_end", "at")),
    )
    op.create_index("offsets_build", "offsets", ["build", "flow", "partition"], unique=True)
    op.create_table(
        "counters",
        sa.Column("stream", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("status", sa.String(16), primary_key=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
    )


def _messages() -> None:
    texts = ("message_id", "correlation_id", "key", "type", "priority", "trace_id")
    op.create_table(
        "messages",
        sa.Column("stream", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("event", sa.BigInteger(), primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text()) for name in texts),
        sa.Column("size", sa.Integer()),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("decided", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("messages_accepted", "messages", ["accepted_at", "stream", "event"])
    op.create_index("messages_id", "messages", ["message_id"])
    op.create_index("messages_correlation", "messages", ["correlation_id"])
    op.create_index("messages_key", "messages", ["key", "accepted_at"])
    _partial("messages_status", ["status", "accepted_at"], "status <> 'delivered'")
    _partial("messages_undecided", ["stream", "event"], "decided = -2")


def _partial(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "messages", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _outcomes() -> None:
    op.create_table(
        "outcomes",
        sa.Column("stream", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("event", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("outcome", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failure", sa.String(16)),
        sa.Column("reason", sa.Text()),
        sa.Column("destination", sa.Text()),
        sa.Column("sent_at", sa.BigInteger()),
        sa.Column("transform", sa.Text()),
        sa.Column("command", sa.BigInteger()),
        sa.Column("plan", sa.Text()),
        sa.Column("stale", sa.SmallInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ranges",
        sa.Column("stream", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("outcome", sa.BigInteger(), primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("first", "until", "at", "missing")),
    )


def _conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("stream", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("correlation_id", sa.String(512), primary_key=True),
        sa.Column("request_flow", sa.Text(), nullable=False),
        sa.Column("request_message_id", sa.Text()),
        sa.Column("request_at", sa.BigInteger(), nullable=False),
        sa.Column("answer_flow", sa.Text()),
        sa.Column("answer_message_id", sa.Text()),
        sa.Column("answer_at", sa.BigInteger()),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("state", sa.String(16), nullable=False),
    )
    op.create_index("conversations_requested", "conversations", ["request_at", "stream", "correlation_id"])
    op.create_index("conversations_state", "conversations", ["state", "request_at"])


def downgrade() -> None:
    for table in ("conversations", "ranges", "outcomes", "messages", "counters", "offsets", "ledger"):
        op.drop_table(table)
