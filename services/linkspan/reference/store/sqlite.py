"""One SQLite file, one writer thread, group commit.

Every ``write`` is durable when it returns: WAL with ``synchronous=FULL``, one fsync for all that waited together.
Writes happen in the order in which they were submitted; one that raises is undone alone. Reads have a thread and a
connection of their own and see what is committed.
"""

from __future__ import annotations

import asyncio
import fcntl
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from linkspan.kernel.errors import UserMistake

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

#: Writes that share one commit at most: bounds how long the first of them waits.
GROUP = 256
#: Of an INTEGER (sqlite.org/datatype3.html); a larger one cannot be asked for.
LARGEST = 2**63 - 1


class Store:
    """``path`` is created with ``schema`` (idempotent SQL); a second process on the same file is a UserMistake."""

    def __init__(self, path: Path, schema: str) -> None:
        self._path = path
        _make_directory(path.parent)
        self._lock = _lock(path)
        self._connection = _connect(path)
        self._connection.executescript(schema)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_until_closed, name=f"store-{path.stem}", daemon=True)
        self._thread.start()
        self._readers = ThreadPoolExecutor(1, f"read-{path.stem}")
        self._reader: sqlite3.Connection | None = None

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        """Queues ``work`` at once; the future ends after the commit. ``work`` runs in a transaction of the writer."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((work, future, loop))
        return future

    async def write(self, work: Work[T]) -> T:
        return await self.submit(work)

    async def read(self, work: Work[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def _read(self, work: Work[T]) -> T:
        if self._reader is None:
            self._reader = _connect(self._path)
            self._reader.execute("PRAGMA query_only=ON")
        return work(self._reader)

    async def close(self) -> None:
        """Everything submitted before is committed first."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        await asyncio.get_running_loop().run_in_executor(self._readers, self._close_reader)
        self._readers.shutdown()
        self._lock.close()

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _write_until_closed(self) -> None:
        job = self._jobs.get()
        while job is not None:
            group, last = self._group(job)
            self._commit(group)
            if last:
                break
            job = self._jobs.get()
        self._connection.close()

    def _group(self, first: _Job) -> tuple[list[_Job], bool]:
        group = [first]
        while len(group) < GROUP:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, False
            if job is None:
                return group, True
            group.append(job)
        return group, False

    def _commit(self, group: list[_Job]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            answers = [_attempt(self._connection, work) for work, _, _ in group]
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:  # the disk is full or gone: nothing of the group was kept
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            answers = [(None, error)] * len(group)
        _deliver(group, answers)


_Answer = tuple[Any, BaseException | None]
_Job = tuple[Callable[[sqlite3.Connection], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


def _attempt(connection: sqlite3.Connection, work: Work[Any]) -> _Answer:
    connection.execute("SAVEPOINT one")
    try:
        answer = work(connection)
    except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits the write
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        return None, error
    connection.execute("RELEASE one")
    return answer, None


def _deliver(group: list[_Job], answers: list[_Answer]) -> None:
    def resolve() -> None:
        for (_, future, _), (answer, error) in zip(group, answers, strict=True):
            if future.cancelled():
                continue
            if error is None:
                future.set_result(answer)
            else:
                future.set_exception(error)

    loop = group[0][2]
    if not loop.is_closed():
        loop.call_soon_threadsafe(resolve)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserMistake(f"{directory} cannot be made ({error.strerror}); choose another with --data-dir") from error


def _lock(path: Path) -> Any:
    """Held until close, or until the process is gone however it ended."""
    try:
        handle = path.with_suffix(".lock").open("w")
    except OSError as error:
        raise UserMistake(f"{path.parent} cannot be written ({error.strerror}); choose another --data-dir") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise UserMistake(
            f"{path.parent} is in use by another process; stop it or choose another --data-dir"
        ) from error
    return handle
