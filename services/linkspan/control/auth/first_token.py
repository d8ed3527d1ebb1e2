"""In development nobody has to set anything up: a token is made, in a file that only its owner can read."""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from linkspan.control.identity import Identity
from linkspan.kernel.errors import UserMistake

NAME = "token"


def first_token(folder: Path) -> str:
    """Of all processes that share ``folder``: whoever comes first makes it. Raises UserMistake."""
    path = folder / NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        token = path.read_text().strip()
    except OSError as error:
        raise UserMistake(
            f"{path}: no token can be kept there ({error.strerror}); set LINKSPAN_DATA or LINKSPAN_TOKENS"
        ) from error
    if not token:
        raise UserMistake(f"{path}: it is empty; delete it, and a new token is made")
    return token


def _make(path: Path) -> None:
    """Complete at once, so that nobody reads half of it; the first one stays."""
    draft = path.with_name(f".{NAME}-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


class FirstToken:
    """Whoever has the file is an admin."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def identify(self, token: str) -> Identity | None:
        return Identity("local", "admin") if hmac.compare_digest(self._token, token.encode()) else None
