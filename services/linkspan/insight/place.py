"""Where a worker keeps its copies of the tables: two on one machine never share them."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import IO

_MOST = 64


class Place:
    """The first directory below ``root`` that no running worker has; it stays taken until the process ends."""

    def __init__(self, root: Path) -> None:
        self.directory, self._lock = _taken(root)


def _taken(root: Path) -> tuple[Path, IO[bytes]]:
    for number in range(_MOST):
        directory = root / str(number)
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("wb")
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return directory, lock
        lock.close()
    raise RuntimeError(f"{_MOST} workers run in {root} already")
