"""Python source of a function, put together line by line. Only names and constants of ours go into it, never data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class NotCompiled(Exception):
    """The schema has something that is left to fastavro."""


class Source:
    """``constant`` and ``variable`` give names that are used once."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._depth = 1
        self._numbers = itertools.count()
        self._constants: dict[str, Any] = {}

    def line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.line(head)
        before = len(self._lines)
        self._depth += 1
        yield
        if len(self._lines) == before:
            self.line("pass")
        self._depth -= 1

    def variable(self) -> str:
        return f"v{next(self._numbers)}"

    def constant(self, value: Any) -> str:
        name = f"C{next(self._numbers)}"
        self._constants[name] = value
        return name

    def function(self, head: str, **known: Any) -> Any:
        """``head``: ``name(arguments)``; raises NotCompiled where Python cannot take it (nested too deeply)."""
        text = "\n".join([f"def {head}:", *self._lines, ""])
        scope = self._constants | known
        try:
            exec(compile(text, f"<generated {head}>", "exec"), scope)  # noqa: S102 - made of a released schema
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise NotCompiled from error
        return scope[head.partition("(")[0]]


def kind_of(schema: Any) -> str:
    return schema if isinstance(schema, str) else str(schema["type"])
