"""Brings the ledger's tables to their newest form; one process at a time does so."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from sqlalchemy import Connection, insert, select, text

from linkspan.kernel.errors import UserMistake
from linkspan.readmodel.tables import LIVE, ledger

#: Of PostgreSQL's advisory lock; SQLite's transaction is one already.
_LOCK = 0x6C696E6B


def migrate(connection: Connection, integration: str) -> None:
    """In the caller's transaction, which writes. Raises UserMistake where it is the ledger of another integration."""
    from alembic import command  # only the ledger migrates, but every process can ask it
    from alembic.config import Config

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    logging.getLogger("alembic").setLevel(logging.WARNING)
    command.upgrade(config, "head")
    owners = set(connection.scalars(select(ledger.c.integration)))
    if owners - {integration}:
        raise UserMistake(
            f"the database of LINKSPAN_DATABASE_URL is the ledger of the integration {min(owners)}; "
            f"{integration} needs a database of its own"
        )
    if not owners:
        now = time.time_ns() // 1000
        connection.execute(
            insert(ledger).values(build=1, state=LIVE, integration=integration, started_at=now, finished_at=now)
        )
