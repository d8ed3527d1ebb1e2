"""Which folder of the spool is this process's: each holds a lock on its own, and the kernel frees it at any death."""

from __future__ import annotations

import fcntl
import itertools
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from linkspan.kernel.disk import sync_folder


@dataclass(frozen=True, slots=True)
class Claim:
    folder: Path
    lock: int

    def release(self) -> None:
        os.close(self.lock)


def claim(parent: Path) -> list[Claim]:
    """Every numbered folder that nobody holds: what processes left that are gone, or one new. Raises OSError."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sync_folder(parent.parent)
    found = list(left(parent))
    if found:
        return found
    return [next(taken for number in itertools.count(1) if (taken := _taken(parent / str(number))))]


def left(parent: Path, but: Collection[Path] = ()) -> Iterator[Claim]:
    """Every numbered folder that nobody holds, ``but`` these. Raises OSError."""
    folders = (parent / str(number) for number in _numbers(parent))
    return (taken for folder in folders if folder not in but and (taken := _taken(folder)))


def _numbers(parent: Path) -> Iterator[int]:
    return iter(sorted(int(path.name) for path in parent.iterdir() if path.name.isdigit() and path.is_dir()))


def _taken(folder: Path) -> Claim | None:
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    sync_folder(folder.parent)
    return Claim(folder, lock)
