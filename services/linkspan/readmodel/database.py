"""The SQL database of the ledger: SQLite or PostgreSQL behind one synchronous engine (docs/decisions/0016)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, select
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.secret import remember
from linkspan.readmodel.away import DatabaseAway
from linkspan.readmodel.migrate import migrate
from linkspan.readmodel.postgres import postgres
from linkspan.readmodel.tables import LIVE, ledger

T = TypeVar("T")

#: Seconds that another writer of the same SQLite file is waited for.
_BUSY = 10
#: WAL lets queries read while the ledger writes. Kafka is the truth, so a commit need not reach the disk at once:
#: after a power cut the file is as it was some transactions ago, offsets included.
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "temp_store=MEMORY", "cache_size=-65536", "mmap_size=268435456")
#: PostgreSQL's "undefined table".
_NO_TABLE = "42P01"


class Database:
    """Nothing connects before it is asked. All blocks: from a coroutine go through ``read`` and ``write``."""

    def __init__(self, url: URL, read: Callable[[], URL]) -> None:
        """``read``: the address as it is said now; another user or password is for the next connections."""
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._engine = _sqlite(url) if self.is_sqlite else postgres(url, read)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot. Raises DatabaseAway."""
        options: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with _told(self), self._engine.connect() as connection, connection.execution_options(**options).begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, committed at the end of the block. Raises DatabaseAway, and then nothing was changed."""
        options: dict[str, Any] = {"linkspan_writes": True}
        with _told(self), self._engine.connect() as connection, connection.execution_options(**options).begin():
            yield connection

    async def read(self, work: Callable[[Connection], T]) -> T:
        def do() -> T:
            with self.reading() as connection:
                return work(connection)

        return await asyncio.to_thread(do)

    async def write(self, work: Callable[[Connection], T]) -> T:
        def do() -> T:
            with self.writing() as connection:
                return work(connection)

        return await asyncio.to_thread(do)

    def prepare(self, integration: str) -> None:
        """Brings the tables to their newest form, and makes the first build. Raises DatabaseAway, UserMistake."""
        if self.is_sqlite and self.url.database:
            Path(self.url.database).absolute().parent.mkdir(parents=True, exist_ok=True)
        with self.writing() as connection:
            migrate(connection, integration)

    async def check(self) -> str | None:
        """For ``/health``: None where the ledger can be asked."""
        missing = await asyncio.to_thread(self.missing)
        if missing:
            return missing
        try:
            found = await self.read(lambda connection: connection.scalar(select(ledger.c.build).limit(1)))
        except DatabaseAway as error:
            return str(error)
        except SQLAlchemyError as error:
            return _said(error)
        return None if found is not None else "the ledger has not begun; linkspan ledger fills it"

    def missing(self) -> str | None:
        """SQLite would make an empty file where there is none."""
        if self.is_sqlite and not Path(self.url.database or "").exists():
            return f"there is no ledger at {self.url.database}; linkspan ledger makes it"
        return None

    def close(self) -> None:
        self._engine.dispose()


def open_database(address: str | SecretStr) -> Database:
    """Raises UserMistake where the address is of no database that is supported, or nothing would encrypt it."""
    secret = address if isinstance(address, SecretStr) else SecretStr(address)
    return Database(_parsed(secret.get_secret_value()), lambda: _parsed(secret.get_secret_value()))


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise UserMistake(
            "environment variable LINKSPAN_DATABASE_URL: expected sqlite:///path or postgresql://user:password@host/name"
        )
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    elif not parsed.database or parsed.database == ":memory:":
        raise UserMistake("environment variable LINKSPAN_DATABASE_URL: sqlite:// needs the path of a file")
    if parsed.password:
        remember(str(parsed.password))
    return parsed


def live_build(connection: Connection) -> int | None:
    found: int | None = connection.scalar(select(ledger.c.build).where(ledger.c.state == LIVE))
    return found


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _BUSY, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # sqlite3 would begin too late: BEGIN is said below
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        record.info["file"] = _file(url)

    @event.listens_for(engine, "checkout")
    def taken(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info["file"] != _file(url):
            raise DisconnectionError("the file was moved away, and another is in its place")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("linkspan_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _file(url: URL) -> tuple[int, int] | None:
    """Which file it is; None where there is none now."""
    try:
        found = Path(url.database or "").stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _told(database: Database) -> Iterator[None]:
    """What comes of the database's absence, apart from what is a mistake of ours."""
    try:
        yield
    except DBAPIError as error:
        if _is_away(error):
            raise DatabaseAway(f"{_name(database.url)}: {_said(error)}") from error
        raise
    except sqlite3.DatabaseError as error:  # while connecting
        raise DatabaseAway(f"{_name(database.url)}: {error}") from error


def _is_away(error: DBAPIError) -> bool:
    if isinstance(error, ProgrammingError):
        return getattr(error.orig, "sqlstate", None) == _NO_TABLE
    damaged = type(error.orig) is sqlite3.DatabaseError  # the file is no database, or malformed
    return damaged or error.connection_invalidated or isinstance(error, OperationalError)


def _said(error: SQLAlchemyError) -> str:
    found = getattr(error, "orig", None) or error
    if getattr(found, "sqlstate", None) == _NO_TABLE:
        return "it has no tables yet; linkspan ledger makes them"
    lines = [line.strip() for line in str(found).splitlines() if line.strip()]
    return lines[0] if lines else type(found).__name__


def _name(url: URL) -> str:
    """Without user and password."""
    return url.database or "sqlite" if url.get_backend_name() == "sqlite" else f"{url.host}/{url.database}"
