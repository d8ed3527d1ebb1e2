"""Files that survive a loss of power."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """After this its entries survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def write_synced(path: Path, content: bytes, mode: int | None = None) -> None:
    """Whole and durable when it returns, its name and its folder's name too; what was there is whole until then.

    ``mode``: of the file, which only its owner can read before it has that; None: as the process makes files. Raises
    OSError.
    """
    new = list(_missing(path.parent))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}#{secrets.token_hex(8)}")
    try:
        with open(partial, "xb", opener=_private if mode is not None else None) as file:
            file.write(content)
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    for folder in dict.fromkeys((path.parent, path.parent.parent, *(one.parent for one in new))):
        sync_folder(folder)


def _missing(folder: Path) -> Iterator[Path]:
    while not folder.exists():
        yield folder
        folder = folder.parent
