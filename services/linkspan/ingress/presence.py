"""Which fields a sender left to the defaults of the schema, and whether it wrote a name twice.

A decoded record no longer says so. Counting the names in the text does: where it holds as many as the record has
fields that differ from their default, exactly those were written, each once. Otherwise the text is read a second time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from linkspan.kernel.schemas import Schema

Count = Callable[[Any, str, list[str]], int]
_NONE = object()


def counter(schema: Any) -> Count | None:
    """Counts the names that the JSON of a datum holds if every field equal to its default was left out.

    Those fields are added to the list as dotted paths, but for nulls: they stand for nothing said. None where there
    are no names at all.
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
        (item["name"], item.get("default", _NONE), counter(item["type"]))
        for item in schema["fields"]
        if "default" in item or counter(item["type"])
    ]

    def count(datum: Any, path: str, absent: list[str]) -> int:
        if not isinstance(datum, dict):
            return 0
        found = plain
        for name, default, inner in others:
            value = datum[name]
            if value == default:
                if value is not None:
                    absent.append(f"{path}.{name}")
            else:
                found += 1 + (inner(value, f"{path}.{name}", absent) if inner else 0)
        return found

    return count


def _array(inner: Count | None) -> Count | None:
    if inner is None:
        return None

    def count(items: Any, path: str, absent: list[str]) -> int:
        return sum(inner(item, f"{path}[{index}]", absent) for index, item in enumerate(items or ()))

    return count


def _map(inner: Count | None) -> Count:
    def count(values: Any, path: str, absent: list[str]) -> int:
        found = len(values or ())
        if inner:
            found += sum(inner(value, f"{path}.{name}", absent) for name, value in values.items())
        return found

    return count


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
