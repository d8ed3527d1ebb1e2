"""A log file: a new one each day, old ones in an archive. Nothing is deleted."""

from __future__ import annotations

import datetime as dt
import fcntl
import gzip
import logging
import os
import shutil
import sys
import threading
from contextlib import suppress
from logging.handlers import TimedRotatingFileHandler
from pathlib import Path
from typing import IO

from linkspan.kernel.errors import UserMistake

#: Days after which a file goes to the archive.
ARCHIVE_DAYS = 30
ARCHIVE = "archive"


class DailyFile(TimedRotatingFileHandler):
    """``path`` is today's (UTC); ``path.2026-11-28`` was that day's; 30 days later it is ``archive/….gz`` beside it.

    One process writes it: raises UserMistake where another one does, or it cannot be written. A disk that is full
    costs lines, not the process; that it happened is said once on stderr.
    """

    def __init__(self, path: Path) -> None:
        self._held: IO[str] | None = None
        self._failed = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            super().__init__(path, when="midnight", utc=True, backupCount=0, encoding="utf-8")
            self._held = _held(path)
        except OSError as error:
            raise UserMistake(f"LINKSPAN_LOG_FILE: {path} cannot be written: {error.strerror}") from error
        self.path = path
        self.archiving: threading.Thread | None = None
        self._archive()

    def write(self, line: str) -> None:
        self.emit(logging.makeLogRecord({"msg": line}))

    def doRollover(self) -> None:  # noqa: N802 - the library's name
        super().doRollover()
        self._archive()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002 - the library's name and argument
        if not self._failed:
            self._failed = True
            sys.stderr.write(f"linkspan: {self.path} cannot be written, lines are missing there: {sys.exc_info()[1]}\n")

    def close(self) -> None:
        with suppress(OSError):  # lines that a full disk never took
            super().close()
        if self._held is not None:
            self._held.close()

    def _archive(self) -> None:
        """In a thread of its own, as a day may be large."""
        self.archiving = threading.Thread(target=archive, args=(self.path, _today()), daemon=True)
        self.archiving.start()


def archive(path: Path, today: dt.date) -> None:
    """Files of ``path`` from more than 30 days ago, compressed; a crash in between leaves the old file as it was."""
    for found in path.parent.glob(f"{path.name}.????-??-??"):
        try:
            day = dt.date.fromisoformat(found.suffix[1:])
        except ValueError:
            continue
        if (today - day).days <= ARCHIVE_DAYS:
            continue
        folder = path.parent / ARCHIVE
        with suppress(OSError):
            folder.mkdir(exist_ok=True)
            part = folder / f"{found.name}.gz.part"
            with found.open("rb") as source, gzip.open(part, "wb") as target:
                shutil.copyfileobj(source, target)
            part.replace(folder / f"{found.name}.gz")
            found.unlink()


def log_file(service: str, environ: dict[str, str] | os._Environ[str]) -> DailyFile | None:
    """``LINKSPAN_LOG_FILE``, in which ``{service}`` stands for the service; None where it is not set. Raises
    UserMistake."""
    named = environ.get("LINKSPAN_LOG_FILE")
    return DailyFile(Path(named.replace("{service}", service)).absolute()) if named else None


def _held(path: Path) -> IO[str]:
    lock = path.with_name(f".{path.name}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        text = f"LINKSPAN_LOG_FILE: {path} is written by another process; give each its own, or put {{service}} into it"
        raise UserMistake(text) from None
    return lock


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
