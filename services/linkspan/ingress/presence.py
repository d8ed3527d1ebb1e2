"""Which fields a sender left to the defaults of the schema, and whether it wrote a name twice.

A decoded record no longer says so. Counting the names in the text does: a field that differs from its default was
written; of those that equal it, either none or all were where the count says so. Otherwise, and where a name may occur
twice, the text is read a second time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from linkspan.kernel.schemas import Schema

#: A field that equals its default: its dotted path, its name as JSON has it, and whether the default is null, which
#: stands for nothing said.
Unsure = tuple[str, bytes, bool]
Count = Callable[[Any, str, list[Unsure]], int]
_NONE = object()


def counter(schema: Any) -> Count | None:
    """Counts the names that the JSON of a datum holds if every field equal to its default was left out.

    Those fields are added to the list. None where there are no names at all.
    """
    if isinstance(schema, list):
        return next((found for branch in schema if (found := counter(branch))), None)
    if isinstance(schema, str):
        return None
    match schema["type"]:
        case "record":
            return _record(schema)
        case "array":
            return _array(counter(schema["items"]))
        case "map":
            return _map(counter(schema["values"]))
        case _:
            return None


def _record(schema: Schema) -> Count:
    plain = sum("default" not in item and counter(item["type"]) is None for item in schema["fields"])
    others = [
        (item["name"], item.get("default", _NONE), counter(item["type"]), b'"%b"' % item["name"].encode())
        for item in schema["fields"]
        if "default" in item or counter(item["type"])
    ]

    def count(datum: Any, path: str, absent: list[Unsure]) -> int:
        if not isinstance(datum, dict):
            return 0
        found = plain
        for name, default, inner, quoted in others:
            value = datum[name]
            if value == default:
                absent.append((f"{path}.{name}", quoted, value is None))
            else:
                found += 1 + (inner(value, f"{path}.{name}", absent) if inner else 0)
        return found

    return count


def _array(inner: Count | None) -> Count | None:
    if inner is None:
        return None

    def count(items: Any, path: str, absent: list[Unsure]) -> int:
        return sum(inner(item, f"{path}[{index}]", absent) for index, item in enumerate(items or ()))

    return count


def _map(inner: Count | None) -> Count:
    def count(values: Any, path: str, absent: list[Unsure]) -> int:
        found = len(values or ())
        if inner:
            found += sum(inner(value, f"{path}.{name}", absent) for name, value in values.items())
        return found

    return count


def settled(raw: bytes, names: int, unsure: list[Unsure]) -> list[str] | None:
    """The fields that were left out of ``raw``, but for nulls; None where counting does not tell.

    ``names`` is how many there are without the unsure ones.
    """
    found = raw.count(b'":')
    if b'\\":' in raw:
        return None  # a text with a quotation mark and a colon looks like a name
    if found != names:
        certain = [field for field in unsure if field[1] not in raw]
        if found != names + len(unsure) - len(certain):
            return None
        unsure = certain
    return [path for path, _, is_null in unsure if not is_null]


def left_out(schema: Any, sent: Any, path: str) -> Iterator[str]:
    """The same fields, from the JSON itself."""
    if isinstance(schema, list):
        for branch in schema:
            yield from left_out(branch, sent, path)
    elif isinstance(schema, dict) and isinstance(sent, dict) and schema["type"] == "record":
        yield from _left_out_of_record(schema, sent, path)
    elif isinstance(schema, dict) and isinstance(sent, dict) and schema["type"] == "map":
        for name, value in sent.items():
            yield from left_out(schema["values"], value, f"{path}.{name}")
    elif isinstance(schema, dict) and isinstance(sent, list) and schema["type"] == "array":
        for index, item in enumerate(sent):
            yield from left_out(schema["items"], item, f"{path}[{index}]")


def _left_out_of_record(schema: Schema, sent: dict[str, Any], path: str) -> Iterator[str]:
    for item in schema["fields"]:
        name = item["name"]
        if name in sent:
            yield from left_out(item["type"], sent[name], f"{path}.{name}")
        elif item.get("default") is not None:
            yield f"{path}.{name}"


class Repeated(ValueError):
    """A JSON object names a field twice."""


def read_strictly(raw: bytes) -> Any:
    """Decoded JSON; raises Repeated. The caller knows that ``raw`` is JSON."""
    return json.loads(raw, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise Repeated(next(name for name in names if names.count(name) > 1))
    return made
