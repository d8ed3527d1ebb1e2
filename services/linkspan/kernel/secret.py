"""Secrets: from a variable or a file, and never in what others read.

Whatever the process knows as a secret is remembered, so that a text from outside that repeats one (a system that echoes
what it was sent) can be shown without it.
"""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.watched import Watched

#: What stands where a secret stood.
HIDDEN = "[secret]"
#: Shorter ones would be found in words that are none.
_SHORTEST = 8
#: Access tokens come and go: so many of the last are remembered.
_MOST = 64

_lasting: dict[str, None] = {}
_passing: OrderedDict[str, None] = OrderedDict()
_longest_first: list[str] = []


def remember(secret: str) -> str:
    """From now on ``redacted`` hides it, as it is, quoted for an address or in JSON, or in base64."""
    if len(secret) >= _SHORTEST and secret not in _lasting:
        encoded, escaped = base64.b64encode(secret.encode()).decode(), json.dumps(secret)[1:-1]
        _lasting.update(dict.fromkeys((secret, quote(secret, safe=""), quote_plus(secret), encoded, escaped)))
        _sort()
    return secret


def remember_token(token: str) -> str:
    """As ``remember``, for what is soon replaced by another."""
    if len(token) >= _SHORTEST:
        _passing[token] = None
        _passing.move_to_end(token)
        if len(_passing) > _MOST:
            _passing.popitem(last=False)
        _sort()
    return token


def _sort() -> None:
    """One may be a part of another."""
    _longest_first[:] = sorted({*_lasting, *_passing}, key=len, reverse=True)


def redacted(text: str) -> str:
    """``text`` without what is remembered; to be asked of every text from outside before it is cut, shown or kept."""
    for secret in _longest_first:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


class FileSecret(SecretStr):
    """The content of a file, without white space around it; read again when it changes. Raises UserMistake."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = Watched(path, _content)
        super().__init__("")

    def get_secret_value(self) -> str:
        return self._file.content

    def __len__(self) -> int:
        return len(self.get_secret_value())

    def _display(self) -> str:
        return "**********"

    def __reduce__(self) -> tuple[type[FileSecret], tuple[Path]]:
        return FileSecret, (self._path,)


def _content(text: str) -> str:
    found = text.strip()
    if not found:
        raise UserMistake("it is empty")
    return remember(found)


def text_of(environ: Mapping[str, str], name: str) -> str | None:
    """As ``secret_of``, of what is no secret."""
    path = environ.get(f"{name}_FILE")
    if environ.get(name) or not path:
        return environ.get(name) or None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserMistake(f"{name}_FILE: {path} cannot be read: {error}") from error


def secret_of(environ: Mapping[str, str], name: str) -> SecretStr | None:
    """Of the variable, else of the file that ``<name>_FILE`` names; None where neither is set. Raises UserMistake."""
    if environ.get(name):
        return SecretStr(remember(environ[name]))
    path = environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return FileSecret(Path(path))
    except UserMistake as error:
        raise UserMistake(f"{name}_FILE: {error}") from error
