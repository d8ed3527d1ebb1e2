"""One JSONata expression: compiled once, evaluated within limits, its errors in a line for a person."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonatapy

from linkspan.kernel.errors import Poison, UserMistake
from linkspan.transform.values import ValueTables

#: Milliseconds; a partition's owner must come back to its loop well within its lease. It is looked at between the
#: steps of an evaluation: a single built-in function over long data is not interrupted, hence the two other limits.
TIMEOUT_MS = 250
MAX_DEPTH = 200
MAX_ITEMS = 100_000
#: Characters that $pad fills up to: the one built-in whose work follows a number in the data, not the data's length.
MAX_WIDTH = 100_000
_BOUNDED_PAD = (
    "($builtInPad := $pad; $pad := function($text, $width, $char) {$exists($text) ? ("
    f'$abs($width) > {MAX_WIDTH} ? $error("$pad: the width " & $width & " is above {MAX_WIDTH}") : '
    "$exists($char) ? $builtInPad($text, $width, $char) : $builtInPad($text, $width))};\n%s\n)"
)

#: A message is tried again and replayed: each time the same result must come out.
_NOT_REPEATABLE = {
    "now": "use $header.timestamp",
    "millis": "use $header.timestamp",
    "random": "every attempt must send the same",
    "shuffle": "every attempt must send the same",
    "eval": "data must not decide what is run",
}
_TOKEN = re.compile(
    r"""/\*.*?\*/|(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|`[^`]*`|\$(?P<name>\w+)|(?P<sign>[(,])""",
    re.DOTALL,
)
_HOST = re.compile(r"host function raised \w+: ")
_CODE = re.compile(r"^[A-Z]\d{4}: ")


class Expression:
    """Raises UserMistake where the text is no expression, or uses what an integration must not."""

    def __init__(self, text: str, tables: ValueTables, known: frozenset[str]) -> None:
        names, self.tables, self.any_table = _scanned(text)
        self._bound = tuple(name for name in ("header", "metadata") if name in names)
        self._refuse(names, known)
        try:
            self._compiled = _compiled(text)
            if "pad" in names:
                self._compiled = _compiled(_BOUNDED_PAD % text)
        except ValueError as error:
            raise UserMistake(f"not a JSONata expression: {_clean(error)}") from error
        if "value" in names:
            self._compiled.register("value", tables.value)
        if "key" in names:
            self._compiled.register("key", tables.key)

    def _refuse(self, names: set[str], known: frozenset[str]) -> None:
        for name in sorted(names & _NOT_REPEATABLE.keys()):
            raise UserMistake(f"${name} cannot be used in a transform: {_NOT_REPEATABLE[name]}")
        for table in sorted(self.tables - known):
            there = ", ".join(sorted(known)) or "none"
            raise UserMistake(f"there is no value table {table!r}; under values: there are {there}")

    def run(self, text: str, message: dict[str, Any]) -> str:
        """JSON to JSON; ``message`` gives ``$header`` and ``$metadata``. Raises Poison."""
        bindings = {name: message[name] for name in self._bound} if self._bound else None
        try:
            made: str | None = self._compiled.evaluate_json_or_none(text, bindings)
        except (ValueError, TypeError, RecursionError) as error:
            raise Poison(f"the transform failed: {_clean(error)}") from error
        if made is None:
            raise Poison("the transform gave nothing: its expression matched no part of the message")
        return made


def _compiled(text: str) -> Any:
    return jsonatapy.compile(text, timeout=TIMEOUT_MS, max_stack_depth=MAX_DEPTH, max_sequence_length=MAX_ITEMS)


def _scanned(text: str) -> tuple[set[str], frozenset[str], bool]:
    """Names after ``$``, tables named in ``$value("…"`` and ``$key("…"``, and whether one is not named literally."""
    tokens = list(_tokens(text))
    names, tables, dynamic = {token for token in tokens if token[:1] not in "\"'(,"}, set(), False
    for index, token in enumerate(tokens):
        if token in ("value", "key"):
            after = tokens[index + 1 : index + 4]
            if len(after) == 3 and after[0] == "(" and after[1][0] in "\"'" and after[2] == ",":
                tables.add(after[1][1:-1])
            else:
                dynamic = True
    return names, frozenset(tables), dynamic


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        found = match["text"] or match["name"] or match["sign"]
        if found:
            yield found


def _clean(error: Exception) -> str:
    said = _HOST.sub("", str(error).removeprefix("Parse error: "))
    return _CODE.sub("", said).strip() or type(error).__name__
