"""Small files that may change while the process runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog
import yaml

from linkspan.kernel.errors import UserMistake

log = structlog.get_logger()

T = TypeVar("T")

_Mark = tuple[int, int, int] | None


class WatchedFiles(Generic[T]):
    """Made again, by ``make``, whenever time, size or file number of one of them changes. What cannot be made leaves
    the former content in force, and is logged; at the start it raises UserMistake."""

    def __init__(self, paths: Sequence[Path], make: Callable[[], T]) -> None:
        self._paths, self._make = paths, make
        self._names = ", ".join(map(str, paths))
        self._seen = self._marks()
        self._content = self._made()

    @property
    def content(self) -> T:
        marks = self._marks()
        if marks != self._seen:
            self._seen = marks
            try:
                self._content = self._made()
                log.info("read again", file=self._names)
            except UserMistake as error:
                log.warning("what it said before stays in force", file=self._names, reason=str(error))
        return self._content

    def _marks(self) -> list[_Mark]:
        return [_mark(path) for path in self._paths]

    def _made(self) -> T:
        try:
            return self._make()
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserMistake(f"{self._names}: it cannot be read: {error}") from error
        except UserMistake as error:
            raise UserMistake(f"{self._names}: {error}") from error


def _mark(path: Path) -> _Mark:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class WatchedBytes(WatchedFiles[T]):
    """One file."""

    def __init__(self, path: Path, parse: Callable[[bytes], T]) -> None:
        super().__init__([path], lambda: parse(path.read_bytes()))


class Watched(WatchedFiles[T]):
    """One file of text."""

    def __init__(self, path: Path, parse: Callable[[str], T]) -> None:
        super().__init__([path], lambda: parse(path.read_text(encoding="utf-8")))
