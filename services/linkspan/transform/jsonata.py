"""One JSONata expression: compiled once, evaluated within limits, its errors in a line for a person."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import jsonatapy

from linkspan.kernel.errors import Poison, UserMistake
from linkspan.transform.bounds import bounded
from linkspan.transform.values import ValueTables

#: Milliseconds of the processor; a partition's owner must come back to its loop well within its lease. It is looked at
#: between the steps of an evaluation: a single built-in function over long data is not interrupted, hence the two other
#: limits and those of ``bounds``.
TIMEOUT_MS = 250
#: The library's clock is the wall's: an evaluation that was given less than this of its time is begun again, so often.
_MOST, _BEGUN = 0.9, 10
_LATE = "D1012: "
MAX_DEPTH = 200
MAX_ITEMS = 100_000
#: A message is tried again and replayed: each time the same result must come out.
_NOT_REPEATABLE = {
    "now": "use $header.timestamp",
    "millis": "use $header.timestamp",
    "random": "every attempt must send the same",
    "shuffle": "every attempt must send the same",
    "eval": "data must not decide what is run",
}
_TOKEN = re.compile(
    r"""/\*(?:.*?\*/|.*)|(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|`[^`]*`|\$(?P<name>\w+)|(?P<sign>[(,])""",
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
            if bounds := bounded(names):
                self._compiled = _compiled(bounds % text)
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
        made = self._evaluated(text, message, "transform")
        if made is None:
            raise Poison("the transform gave nothing: its expression matched no part of the message")
        return made

    def holds(self, text: str, message: dict[str, Any]) -> bool:
        """Whether it is true of this JSON, not where it matches nothing; ``message`` as in ``run``. Raises Poison, also
        where it gives anything else than true or false."""
        made = self._evaluated(text, message, "predicate")
        if made is not None and made not in ("true", "false"):
            raise Poison(f"the predicate gave {made if len(made) <= 60 else made[:57] + '…'}, not true or false")
        return made == "true"

    def _evaluated(self, text: str, message: dict[str, Any], what: str) -> str | None:
        bindings: dict[str, Any] | None = {name: message[name] for name in self._bound} if self._bound else None
        try:
            return self._in_time(text, bindings)
        except (ValueError, TypeError, RecursionError, MemoryError) as error:
            raise Poison(f"the {what} failed: {_clean(error)}") from error
        except BaseException as error:
            # A panic of Rust code, which is no Exception: pyo3 has no name to import for it.
            if type(error).__name__ != "PanicException":
                raise
            raise Poison(f"the {what} failed: the evaluation broke ({_clean(error)})") from error

    def _in_time(self, text: str, bindings: dict[str, Any] | None) -> str | None:
        began = time.thread_time()
        for left in reversed(range(_BEGUN)):
            try:
                made: str | None = self._compiled.evaluate_json_or_none(text, bindings)
                break
            except ValueError as error:
                had = (time.thread_time() - began) * 1000
                if not left or had >= TIMEOUT_MS * _MOST or not str(error).startswith(_LATE):
                    raise
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


def _clean(error: BaseException) -> str:
    said = _HOST.sub("", str(error).removeprefix("Parse error: "))
    return _CODE.sub("", said).strip() or type(error).__name__
