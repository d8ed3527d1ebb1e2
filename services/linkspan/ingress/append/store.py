"""Records on this machine's disk, in order: one SQLite file with a write-ahead log (decision 0008).

``synchronous=FULL`` syncs the log at each commit. Each of its frames has a checksum, so that what was half written when
the power went is not there at the next start. All of it blocks: the spool calls it from its own thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from linkspan.kernel.disk import sync_folder

FILE = "records.sqlite"
PRAGMAS = ("page_size=8192", "locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL")
TABLE = """CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY, flow TEXT NOT NULL, key BLOB NOT NULL,
    headers BLOB NOT NULL, timestamp INTEGER NOT NULL, size INTEGER NOT NULL, value BLOB NOT NULL)"""
INSERT = "INSERT INTO records (id, flow, key, headers, timestamp, size, value) VALUES (?, ?, ?, ?, ?, ?, ?)"
#: Bytes that a row takes beside its key, headers and value, about.
ROW = 100

Header = tuple[str, bytes]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, bytes]]).decode


class Row(msgspec.Struct, frozen=True):
    """One event, complete as Kafka will get it; ``id`` rises in the order of acceptance, ``timestamp`` in ms."""

    id: int
    flow: str
    key: bytes
    headers: list[Header]
    timestamp: int
    value: bytes

    @property
    def size(self) -> int:
        return ROW + len(self.key) + len(self.value) + sum(len(name) + len(text) for name, text in self.headers)


class Store:
    """Raises sqlite3.Error, and then nothing was changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / FILE
        self._opened: sqlite3.Connection | None = None
        self._last = 0

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False)
        try:
            for pragma in PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            connection.execute(TABLE)
            sync_folder(self.folder)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        connection.execute("BEGIN")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk may have ended it already
                connection.execute("ROLLBACK")
            raise

    def contents(self) -> dict[str, tuple[int, int]]:
        """Messages and bytes of each flow; reads every row once."""
        found = self._connection.execute("SELECT flow, COUNT(*), SUM(size), MAX(id) FROM records GROUP BY flow")
        contents = {}
        for flow, count, size, last in found:
            contents[flow] = (count, size)
            self._last = max(self._last, last)
        return contents

    def add(self, rows: Sequence[Row]) -> None:
        """All or none of them, synced when it returns. Their ids are given here."""
        numbered = enumerate(rows, self._last + 1)
        with self._transaction() as connection:
            connection.executemany(
                INSERT,
                (
                    (number, row.flow, row.key, _encode(row.headers), row.timestamp, row.size, row.value)
                    for number, row in numbered
                ),
            )
        self._last += len(rows)

    def read(self, flows: Iterable[str], after: int, count: int, size: int) -> list[Row]:
        """The next of these flows above id ``after``: ``count`` at most, and one above ``size`` bytes at most."""
        names = list(flows)
        marks = ", ".join("?" * len(names))
        rows: list[Row] = []
        found = self._connection.execute(
            "SELECT id, flow, key, headers, timestamp, value FROM records "  # noqa: S608 - marks only
            f"WHERE id > ? AND flow IN ({marks}) ORDER BY id LIMIT ?",
            (after, *names, count),
        )
        for number, flow, key, headers, timestamp, value in found:
            rows.append(Row(number, flow, key, _decode(headers), timestamp, value))
            size -= len(value)
            if size < 0:
                break
        found.close()
        return rows

    def remove(self, ids: Iterable[int]) -> None:
        with self._transaction() as connection:
            connection.executemany("DELETE FROM records WHERE id = ?", ((number,) for number in ids))

    def oldest(self) -> int | None:
        """Timestamp (ms) of the first row."""
        found = self._connection.execute("SELECT timestamp FROM records ORDER BY id LIMIT 1").fetchone()
        return found[0] if found else None

    def clear(self) -> None:
        """Begins a new file: that gives the space back, and works on a full disk, where removing rows does not."""
        self.close()
        for path in self._files():
            path.unlink()
        sync_folder(self.folder)

    def set_aside(self, mark: str) -> list[str]:
        """Renames what cannot be read, so that nothing of it is lost; the new names."""
        self.close()
        return [str(path.rename(path.with_name(f"{mark}-{path.name}"))) for path in self._files()]

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"{self._file.name}*"))

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        self._opened = None
