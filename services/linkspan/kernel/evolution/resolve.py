"""Avro's schema resolution, asked of the schemas alone: what of a writer's data a reader could not read, by field.

The rules are those of the Avro specification ("Schema Resolution"), and one of ours: a logical type never changes,
since the same bytes would mean something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from linkspan.kernel.errors import Fault
from linkspan.kernel.schemas import expanded, full_name

_PROMOTED = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


def unreadable(writer: Any, reader: Any, field: str) -> list[Fault]:
    """What keeps ``reader`` from reading data of ``writer``; empty where it reads all of it."""
    return list(_resolved(expanded(writer), expanded(reader), field))


def _resolved(writer: Any, reader: Any, field: str) -> Iterator[Fault]:
    if isinstance(writer, list):
        for branch in writer:
            yield from _branch(branch, reader, field)
    elif isinstance(reader, list):
        yield from _branch(writer, reader, field)
    elif _kind(writer) != _kind(reader):
        if _kind(reader) not in _PROMOTED.get(_kind(writer), ()) or _logical(writer) or _logical(reader):
            yield Fault(field, f"was {_shown(writer)}, is read as {_shown(reader)}")
    elif _logical(writer) != _logical(reader):
        yield Fault(field, f"was {_shown(writer)}, is read as {_shown(reader)}: the same bytes mean something else")
    else:
        yield from _same_kind(writer, reader, field)


def _same_kind(writer: Any, reader: Any, field: str) -> Iterator[Fault]:
    match _kind(writer):
        case "record":
            yield from _named(writer, reader, field) or _fields(writer, reader, field)
        case "enum":
            yield from _named(writer, reader, field) or _symbols(writer, reader, field)
        case "fixed":
            yield from _named(writer, reader, field)
            if writer["size"] != reader["size"]:
                yield Fault(field, f"was fixed({writer['size']}), is read as fixed({reader['size']})")
        case "array":
            yield from _resolved(writer["items"], reader["items"], f"{field}[]")
        case "map":
            yield from _resolved(writer["values"], reader["values"], f"{field}.*")


def _branch(branch: Any, reader: Any, field: str) -> Iterator[Fault]:
    """One branch of the writer's union, or its only type, against what the reader has."""
    if not isinstance(reader, list):
        if _kind(branch) != _kind(reader) and list(_resolved(branch, reader, field)):
            yield Fault(field, f"could be {_shown(branch)}, is read as {_shown(reader)}")
        else:
            yield from _resolved(branch, reader, field)
        return
    tried = [list(_resolved(branch, option, field)) for option in reader]
    if all(tried):
        alike = [faults for option, faults in zip(reader, tried, strict=True) if _alike(branch, option)]
        union = " or ".join(map(_shown, reader))
        yield from alike[0] if alike else [Fault(field, f"could be {_shown(branch)}, is read as {union}")]


def _alike(writer: Any, reader: Any) -> bool:
    return _kind(writer) == _kind(reader) and (not isinstance(writer, dict) or not _named(writer, reader, ""))


def _fields(writer: Any, reader: Any, field: str) -> list[Fault]:
    written = {item["name"]: item for item in writer["fields"]}
    faults: list[Fault] = []
    for item in reader["fields"]:
        names = [item["name"], *item.get("aliases", ())]
        found = next((written[name] for name in names if name in written), None)
        if found is not None:
            faults += _resolved(found["type"], item["type"], f"{field}.{item['name']}")
        elif "default" not in item:
            faults.append(Fault(f"{field}.{item['name']}", "has no default for data that is without it"))
    return faults


def _symbols(writer: Any, reader: Any, field: str) -> list[Fault]:
    unknown = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
    if not unknown or "default" in reader:
        return []
    there = ", ".join(unknown)
    return [Fault(field, f"enum {reader['name']} does not know {there} and has no default for what it does not know")]


def _named(writer: Any, reader: Any, field: str) -> list[Fault]:
    if "name" not in writer or "name" not in reader:
        return []
    namespace = full_name(reader).rpartition(".")[0]
    aliases = {alias if "." in alias else f"{namespace}.{alias}" for alias in reader.get("aliases", ())}
    if full_name(writer) in {full_name(reader), *aliases} or _short(writer) == _short(reader):
        return []
    return [Fault(field, f"was the {_kind(writer)} {_short(writer)}, is read as {_short(reader)} without an alias")]


def _short(schema: Any) -> str:
    return full_name(schema).rpartition(".")[2]


def _kind(schema: Any) -> str:
    kind: str = schema["type"] if isinstance(schema, dict) else schema
    return kind


def _logical(schema: Any) -> str | None:
    return schema.get("logicalType") if isinstance(schema, dict) else None


def _shown(schema: Any) -> str:
    if isinstance(schema, list):
        return " or ".join(map(_shown, schema))
    if isinstance(schema, dict) and "name" in schema:
        return f"{_kind(schema)} {_short(schema)}"
    logical = _logical(schema)
    return f"{_kind(schema)} ({logical})" if logical else _kind(schema)
