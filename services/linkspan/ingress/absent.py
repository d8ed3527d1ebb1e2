"""Fields that a sender left to the defaults of the schema, and names that it wrote twice."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from linkspan.kernel.faults import is_blob_reference
from linkspan.kernel.json_form import default_datum
from linkspan.kernel.schemas import Schema

#: Fills a datum in place; the dotted paths of what it filled are added to the list, but for nulls: they say nothing.
Fill = Callable[[Any, str, list[str]], None]


def filler(schema: Any) -> Fill | None:
    """For data of ``struct_type(schema, unset=True)``; None where no default is anywhere in it."""
    if isinstance(schema, list):
        return next((made for branch in schema if not is_blob_reference(branch) and (made := filler(branch))), None)
    if isinstance(schema, str):
        return None
    match schema["type"]:
        case "record":
            return _of_record(schema)
        case "array":
            return _of_array(filler(schema["items"]))
        case "map":
            return _of_map(filler(schema["values"]))
        case _:
            return None


def _of_record(schema: Schema) -> Fill | None:
    defaults = [(item["name"], default_datum(item)) for item in schema["fields"] if "default" in item]
    inner = [(item["name"], made) for item in schema["fields"] if (made := filler(item["type"]))]
    if not defaults and not inner:
        return None

    def fill(datum: Any, path: str, filled: list[str]) -> None:
        if not isinstance(datum, dict):  # another branch of a union
            return
        for name, fill_inner in inner:
            if name in datum:
                fill_inner(datum[name], f"{path}.{name}", filled)
        for name, default in defaults:
            if name not in datum:
                datum[name] = copy.deepcopy(default) if isinstance(default, list | dict) else default
                if default is not None:
                    filled.append(f"{path}.{name}")

    return fill


def _of_array(inner: Fill | None) -> Fill | None:
    if inner is None:
        return None

    def fill(items: Any, path: str, filled: list[str]) -> None:
        for index, item in enumerate(items if isinstance(items, list) else ()):
            inner(item, f"{path}[{index}]", filled)

    return fill


def _of_map(inner: Fill | None) -> Fill | None:
    if inner is None:
        return None

    def fill(values: Any, path: str, filled: list[str]) -> None:
        for name, value in values.items() if isinstance(values, dict) else ():
            inner(value, f"{path}.{name}", filled)

    return fill


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
