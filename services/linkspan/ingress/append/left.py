"""What a folder of the spool holds when a process opens it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from linkspan.ingress.append.store import FILE, Store

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Left:
    """``contents``: messages and bytes of each flow; ``oldest``: the first message's timestamp, ms."""

    store: Store
    contents: dict[str, tuple[int, int]]
    oldest: int | None


def opened(folder: Path) -> Left:
    """Sets a damaged file aside. Raises sqlite3.OperationalError and OSError where the disk fails."""
    store = Store(folder)
    try:
        contents = store.contents()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        names = store.set_aside(f"damaged-{time.time_ns()}")
        log.error("a damaged spool file was set aside", reason=str(error), files=names)  # noqa: TRY400 - known
        contents = {}
    return Left(store, contents, store.oldest())


def read_left(folder: Path, cannot: Callable[[Path], None]) -> Left | None:
    """None where there is nothing to drain, or it ``cannot`` be read."""
    if not (folder / FILE).exists():
        return None
    try:
        left = opened(folder)
    except (OSError, sqlite3.Error) as error:
        log.error("what a process left in its spool cannot be read", folder=str(folder), reason=str(error))  # noqa: TRY400 - known
        cannot(folder)
        return None
    if left.contents:
        return left
    left.store.close()
    return None
