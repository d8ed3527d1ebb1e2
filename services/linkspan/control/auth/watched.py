"""A small file that may change while the process runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog
import yaml

from linkspan.kernel.errors import UserMistake

log = structlog.get_logger()

T = TypeVar("T")


class Watched(Generic[T]):
    """Read again whenever its time, size or file number changes. What cannot be read leaves the former content in
    force, and is logged; at the start it raises UserMistake."""

    def __init__(self, path: Path, parse: Callable[[str], T]) -> None:
        self.path, self._parse = path, parse
        self._seen = self._mark()
        self._content = self._read()

    @property
    def content(self) -> T:
        mark = self._mark()
        if mark != self._seen:
            self._seen = mark
            try:
                self._content = self._read()
                log.info("read again", file=str(self.path))
            except UserMistake as error:
                log.warning("what it said before stays in force", file=str(self.path), reason=str(error))
        return self._content

    def _mark(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> T:
        try:
            return self._parse(self.path.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserMistake(f"{self.path}: it cannot be read: {error}") from error
        except UserMistake as error:
            raise UserMistake(f"{self.path}: {error}") from error
