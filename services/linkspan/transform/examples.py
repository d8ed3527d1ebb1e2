"""Runs the examples that are written beside a flow: what goes in, what must come out.

An example file is a YAML list of ``{name, input, output}`` or ``{name, input, error}``; ``input`` and ``output`` are
payloads, ``error`` a part of the reason a message is refused with. ``header`` and ``metadata`` may be given too, and
``lookups: {key: value}``, what the flow's lookups find; a key that is not there is missing in the system.
``{$file: plan.dxf}`` stands for a file's content (base64), its path relative to the example file. With
``output: {…}`` the whole payload is compared, with ``contains: {…}`` only the fields that are given.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from linkspan.kernel.errors import DeliveryError, InvalidMessage, UserMistake
from linkspan.kernel.json_form import JsonForm
from linkspan.kernel.lined_yaml import Document, InvalidFile, LineFault, read_lined
from linkspan.kernel.message import Json
from linkspan.kernel.spec import Flow
from linkspan.transform.transform import Transform

_FIELDS = {"name", "input", "output", "contains", "error", "header", "metadata", "lookups"}
_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Example:
    name: str
    given: Json


@dataclass(frozen=True, slots=True)
class Verdict:
    """``differences``: a line each, beginning with the field; empty where the example holds."""

    name: str
    differences: tuple[str, ...]


def read_examples(path: Path) -> list[Example]:
    """Raises InvalidFile, or UserMistake where a file cannot be read."""
    document = read_lined(path)
    if not isinstance(document.data, list) or not document.data:
        raise InvalidFile(path, [LineFault(1, "", "expected a list of examples: - {name, input, output}")])
    faults = [fault for index in range(len(document.data)) for fault in _example_faults(document, index)]
    if faults:
        raise InvalidFile(path, faults)
    return [Example(str(given["name"]), _with_files(given, path.parent)) for given in document.data]


async def run_example(example: Example, flow: Flow, taken: JsonForm, transform: Transform) -> Verdict:
    """``taken``: the form of the flow's payloads."""
    given = example.given
    try:
        message = _message(given, flow, taken)
        made = await transform.apply(message, given.get("lookups", {}))
    except InvalidMessage as error:
        return Verdict(example.name, _refused(given, f"input: {error}"))
    except DeliveryError as error:
        return Verdict(example.name, _refused(given, error.reason))
    if "error" in given:
        return Verdict(example.name, (f"expected the error {given['error']!r}, but a payload came out",))
    whole = "output" in given
    expected = transform.expected(given["output"]) if whole else given["contains"]
    return Verdict(example.name, tuple(differences(expected, made, "", whole=whole)))


def differences(expected: Any, actual: Any, field: str, *, whole: bool) -> Iterator[str]:
    """A line for each field that differs; ``whole``: fields that are not expected differ too."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        names = [*expected, *(name for name in actual if whole and name not in expected)]
        for name in names:
            below = f"{field}.{name}" if field else name
            yield from differences(expected.get(name, _ABSENT), actual.get(name, _ABSENT), below, whole=whole)
    elif isinstance(expected, list) and isinstance(actual, list):
        for index in range(max(len(expected), len(actual))):
            wanted, found = (items[index] if index < len(items) else _ABSENT for items in (expected, actual))
            yield from differences(wanted, found, f"{field}[{index}]", whole=whole)
    elif not _same(expected, actual):
        yield f"{field or 'payload'}: expected {_shown(expected)}, got {_shown(actual)}"


def _same(expected: Any, actual: Any) -> bool:
    if isinstance(expected, float) and isinstance(actual, int | float) and not isinstance(actual, bool):
        return math.isclose(expected, actual, rel_tol=1e-9)
    return bool(expected == actual) and isinstance(expected, bool) == isinstance(actual, bool)


def _refused(given: Json, reason: str) -> tuple[str, ...]:
    if "error" not in given:
        return (f"refused: {reason}",)
    return () if str(given["error"]) in reason else (f"expected the error {given['error']!r}, got {reason!r}",)


def _message(given: Json, flow: Flow, taken: JsonForm) -> Json:
    header = {"messageId": _ID, "timestamp": "2026-01-31T12:00:00Z", "source": flow.from_, "destination": flow.to}
    header |= {"messageType": "event", "type": flow.type, "version": "1.0"} | given.get("header", {})
    metadata: Json = {"correlationId": _ID, "priority": "normal", "ttl": None, "retryCount": 0, "defaulted": []}
    payload = taken.json(taken.datum(given["input"]))
    return {"header": header, "payload": payload, "metadata": metadata | given.get("metadata", {})}


def _example_faults(document: Document, index: int) -> Iterator[LineFault]:
    given = document.data[index]
    if not isinstance(given, dict):
        yield document.fault((index,), "expected {name, input, output}")
        return
    for name in ("name", "input"):
        if name not in given:
            yield document.fault((index, name), "required field missing")
    if len(given.keys() & {"output", "contains", "error"}) != 1:
        yield document.fault((index,), "give one of output, contains and error")
    for name in given.keys() - _FIELDS:
        yield document.fault((index, name), f"unknown field; there are {', '.join(sorted(_FIELDS))}")
    for name in given.keys() & {"header", "metadata", "lookups"}:
        if not isinstance(given[name], dict):
            yield document.fault((index, name), "expected fields (name: value)")


def _with_files(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"$file"}:
            return _content(folder / str(value["$file"]))
        return {name: _with_files(item, folder) for name, item in value.items()}
    return [_with_files(item, folder) for item in value] if isinstance(value, list) else value


def _content(path: Path) -> str:
    try:
        return base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise UserMistake(f"{path}: cannot be read: {error.strerror}") from error


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "…"
