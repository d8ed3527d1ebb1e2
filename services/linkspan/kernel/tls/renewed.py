"""TLS contexts whose files may change: each handshake uses what the files say then; connections that stand are kept."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from linkspan.kernel.watched import WatchedFiles

#: Nothing older is spoken, anywhere.
LOWEST = ssl.TLSVersion.TLSv1_3


class Renewed(ssl.SSLContext):
    """Stands for the context that ``make`` makes of ``files``; whoever takes an SSLContext takes it."""

    _watched: WatchedFiles[ssl.SSLContext]

    def __new__(cls, protocol: int, _files: Sequence[Path], _make: Callable[[], ssl.SSLContext]) -> Self:
        return super().__new__(cls, protocol)

    def __init__(self, _protocol: int, files: Sequence[Path], make: Callable[[], ssl.SSLContext]) -> None:
        """Raises UserMistake where the files cannot be used."""
        super().__init__()
        self.minimum_version = LOWEST
        self._watched = WatchedFiles(files, make)

    @property
    def current(self) -> ssl.SSLContext:
        return self._watched.content

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        return self.current.wrap_bio(*arguments, **named)

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        return self.current.wrap_socket(*arguments, **named)


def no_password() -> str:
    """For ``load_cert_chain``, which would ask on the terminal for the password of a key."""
    return ""
