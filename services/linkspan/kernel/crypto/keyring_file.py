"""Changes of the keyring file: whole or not at all, and never with another mode than it had."""

from __future__ import annotations

import secrets
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from linkspan.kernel.crypto.keyring import KEY_BYTES, Entry, Keys, check_mode, read_keys, written
from linkspan.kernel.disk import write_synced
from linkspan.kernel.errors import UserMistake


def rotate(path: Path, now: datetime | None = None) -> Entry:
    """Adds a key, which wraps from now on; makes the file (mode 0600) where there is none. Raises UserMistake."""
    now = now or datetime.now(UTC)
    try:
        path = path.resolve()  # what a link names is replaced, not the link
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        known = _read(path) if path.exists() else Keys(secrets.token_bytes(KEY_BYTES), ())
        if known.keys:  # whatever the clocks say, it is the newest
            now = max(now, known.keys[-1].created + timedelta(seconds=1))
        made = Entry(f"{now:%Y%m%d}-{secrets.token_hex(4)}", now, secrets.token_bytes(KEY_BYTES))
        _replace(path, written(Keys(known.digest, (*known.keys, made))))
    except OSError as error:
        raise UserMistake(f"the keyring {path} cannot be written: {error.strerror}") from error
    return made


def ensure(path: Path) -> None:
    """Makes the file where there is none; for whoever starts all processes that use it."""
    if not path.exists():
        rotate(path)


def _read(path: Path) -> Keys:
    check_mode(path)
    try:
        return read_keys(path.read_text())
    except UnicodeDecodeError:
        raise UserMistake(f"{path}: it is no keyring") from None
    except UserMistake as error:
        raise UserMistake(f"{path}: {error}") from error


def _replace(path: Path, text: str) -> None:
    write_synced(path, text.encode(), stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600)
