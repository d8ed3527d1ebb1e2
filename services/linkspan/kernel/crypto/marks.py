"""What a schema file may mark as confidential."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from linkspan.kernel.errors import Fault

MARK = "confidential"


def mark_faults(schema: Any, path: str = "") -> Iterator[Fault]:
    """Of a payload schema as its file has it; a mark on anything but a text or bytes would protect nothing."""
    if isinstance(schema, list):
        for branch in schema:
            yield from mark_faults(branch, path)
        return
    if not isinstance(schema, dict):
        return
    if MARK in schema:
        yield Fault(path or schema.get("name", "?"), f"{MARK} belongs beside the name of a field, not into its type")
    for item in schema.get("fields", ()):
        inside = f"{path}.{item['name']}" if path else str(item["name"])
        yield from _of_field(item, inside)
        yield from mark_faults(item["type"], inside)
    for name in ("type", "items", "values"):
        if name in schema:
            yield from mark_faults(schema[name], path)


def marked_fields(schema: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of what is marked, in the schema's order; of an expanded schema all of them."""
    if isinstance(schema, list):
        for branch in schema:
            yield from marked_fields(branch, path)
    elif isinstance(schema, dict):
        for item in schema.get("fields", ()):
            inside = f"{path}.{item['name']}" if path else str(item["name"])
            if item.get(MARK) is True:
                yield inside
            yield from marked_fields(item["type"], inside)
        for name in ("type", "items", "values"):
            yield from marked_fields(schema.get(name), path)


def _of_field(item: dict[str, Any], path: str) -> Iterator[Fault]:
    mark = item.get(MARK, False)
    if not isinstance(mark, bool):
        yield Fault(path, f"{MARK} is true or false")
    elif mark and not _can_be(item["type"]):
        yield Fault(
            path, f"only a string or bytes, with or without null, can be {MARK}; this is {_shown(item['type'])}"
        )


def _can_be(kind: Any) -> bool:
    branches = [kind] if not isinstance(kind, list) else [branch for branch in kind if branch != "null"]
    return len(branches) == 1 and _plain(branches[0]) in ("string", "bytes")


def _plain(kind: Any) -> Any:
    """A type that is written as ``{"type": …}`` and says nothing else; a logical type has a form of its own."""
    return kind["type"] if isinstance(kind, dict) and kind.keys() == {"type"} else kind


def _shown(kind: Any) -> str:
    if isinstance(kind, list):
        return " or ".join(map(_shown, kind))
    if isinstance(kind, dict):
        return str(kind.get("logicalType") or kind.get("type"))
    return str(kind)
