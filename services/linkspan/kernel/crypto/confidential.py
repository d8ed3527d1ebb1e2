"""Fields of a payload schema that are marked ``"confidential": true``: their values leave the event, encrypted.

Only plain ``string`` and ``bytes`` can be marked, with or without null, anywhere in records, arrays and maps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from linkspan.kernel.crypto.marks import MARK
from linkspan.kernel.crypto.pointers import below
from linkspan.kernel.schemas import Schema

#: Takes the values below a value out of it; gets that value, its pointer, and the lists that grow.
Take = Callable[[Any, str, list[str], list[Any]], None]


def taker(schema: Any) -> Take | None:
    """For structs of ``struct_type(schema, unset=True)``: leaves empty text and bytes behind. None where nothing in
    the (expanded) schema is marked."""
    if isinstance(schema, list):
        return _of_union([branch for branch in schema if branch != "null"])
    if isinstance(schema, str):
        return None
    match schema["type"]:
        case "record":
            return _of_record(schema)
        case "array":
            return _of_array(taker(schema["items"]))
        case "map":
            return _of_map(taker(schema["values"]))
        case _:
            return None


def _of_record(schema: Schema) -> Take | None:
    marked = {item["name"] for item in schema["fields"] if item.get(MARK) is True}
    made = [(item["name"], taker(item["type"])) for item in schema["fields"]]
    wanted = [(name, inner) for name, inner in made if inner or name in marked]

    def take(record: Any, pointer: str, pointers: list[str], values: list[Any]) -> None:
        if not isinstance(record, msgspec.Struct):
            return  # another branch of a union
        for name, inner in wanted:
            value = getattr(record, name)
            if value is None or value is msgspec.UNSET:
                continue
            if inner is not None:
                inner(value, below(pointer, name), pointers, values)
            else:
                pointers.append(below(pointer, name))
                values.append(value)
                setattr(record, name, type(value)())

    return take if wanted else None


def _of_union(branches: list[Any]) -> Take | None:
    inner = [made for branch in branches if (made := taker(branch))]

    def take(value: Any, pointer: str, pointers: list[str], values: list[Any]) -> None:
        for one in inner:
            one(value, pointer, pointers, values)

    return take if inner else None


def _of_array(inner: Take | None) -> Take | None:
    if inner is None:
        return None

    def take(items: Any, pointer: str, pointers: list[str], values: list[Any]) -> None:
        for index, item in enumerate(items if isinstance(items, list) else ()):
            inner(item, below(pointer, index), pointers, values)

    return take


def _of_map(inner: Take | None) -> Take | None:
    if inner is None:
        return None

    def take(found: Any, pointer: str, pointers: list[str], values: list[Any]) -> None:
        for name, value in found.items() if isinstance(found, dict) else ():
            inner(value, below(pointer, name), pointers, values)

    return take
