"""Lists everything that is wrong with a JSON value that should fit an Avro schema; runs after the fast check failed."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from linkspan.kernel.errors import Fault
from linkspan.kernel.schemas import Schema

UUID_PATTERN = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
LIMITS = {"int": 2**31, "long": 2**63}

_UUID = re.compile(UUID_PATTERN)


def faults(schema: Any, value: Any, field: str, optional: frozenset[str] = frozenset()) -> Iterator[Fault]:
    """``optional``: fields of this record (not of nested ones) that may be absent although they have no default."""
    if isinstance(schema, list):
        yield from _union(schema, value, field)
    elif isinstance(schema, str):
        yield from _primitive(schema, None, value, field)
    elif schema["type"] == "record":
        yield from _record(schema, value, field, optional)
    else:
        yield from _COMPLEX.get(schema["type"], _annotated)(schema, value, field)


def _record(schema: Schema, value: Any, field: str, optional: frozenset[str]) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield _unexpected("an object", value, field)
        return
    known = {item["name"]: item for item in schema["fields"]}
    for name, item in known.items():
        if name in value:
            if not (value[name] is None and name in optional):
                yield from faults(item["type"], value[name], f"{field}.{name}")
        elif "default" not in item and name not in optional:
            yield Fault(f"{field}.{name}", "required field missing")
    for name in value.keys() - known.keys():
        yield Fault(f"{field}.{name}", f"unknown field; {schema['name']} has {', '.join(known)}")


def _union(branches: list[Any], value: Any, field: str) -> Iterator[Fault]:
    if value is None and "null" in branches:
        return
    best: list[Fault] | None = None
    for branch in branches:
        if branch == "null" or is_blob_reference(branch):
            continue
        found = list(faults(branch, value, field))
        if not found:
            return
        best = found if best is None or len(found) < len(best) else best
    yield from best or [_unexpected("null", value, field)]


def _array(schema: Schema, value: Any, field: str) -> Iterator[Fault]:
    if not isinstance(value, list):
        yield _unexpected("a list", value, field)
        return
    for index, item in enumerate(value):
        yield from faults(schema["items"], item, f"{field}[{index}]")


def _map(schema: Schema, value: Any, field: str) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield _unexpected("an object", value, field)
        return
    for name, item in value.items():
        yield from faults(schema["values"], item, f"{field}.{name}")


def _enum(schema: Schema, value: Any, field: str) -> Iterator[Fault]:
    if value not in schema["symbols"]:
        yield Fault(field, f"expected one of {', '.join(schema['symbols'])}; got {_shown(value)}")


def _annotated(schema: Schema, value: Any, field: str) -> Iterator[Fault]:
    yield from _primitive(schema["type"], schema.get("logicalType"), value, field)


def _primitive(kind: str, logical: str | None, value: Any, field: str) -> Iterator[Fault]:
    fault = _PRIMITIVES[logical if logical in _PRIMITIVES else kind](value)
    if fault:
        yield Fault(field, fault if fault.startswith(("is ", "must ")) else f"expected {fault}, got {_shown(value)}")


def _integer(limit: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return "a whole number"
        return None if -limit <= value < limit else f"is out of range: at most {limit - 1}"

    return check


def _base64(value: Any) -> str | None:
    if not isinstance(value, str):
        return "base64 text"
    try:
        b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return "is not base64"
    return None


def _time(value: Any) -> str | None:
    if not isinstance(value, str):
        return "an ISO 8601 time"
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return f"is not an ISO 8601 time: {_shown(value)}"
    return None if moment.tzinfo else "must have a time zone, for example a final Z"


def _uuid(value: Any) -> str | None:
    if not isinstance(value, str):
        return "a uuid"
    return None if _UUID.match(value) else f"is not a uuid: {_shown(value)}"


def is_blob_reference(schema: Any) -> bool:
    """References are made by Linkspan; from outside only content is taken."""
    return isinstance(schema, dict) and schema.get("name") == "BlobReference"


def _unexpected(wanted: str, value: Any, field: str) -> Fault:
    return Fault(field, f"expected {wanted}, got {_shown(value)}")


def _shown(value: Any) -> str:
    names: dict[type, str] = {dict: "an object", list: "a list", type(None): "null", bool: "true or false"}
    if type(value) in names:
        return names[type(value)]
    text = str(value)
    return repr(text if len(text) <= 40 else text[:37] + "…")


_COMPLEX = {"array": _array, "map": _map, "enum": _enum}
_PRIMITIVES: dict[str, Callable[[Any], str | None]] = {
    "null": lambda value: None if value is None else "null",
    "boolean": lambda value: None if isinstance(value, bool) else "true or false",
    "string": lambda value: None if isinstance(value, str) else "text",
    "int": _integer(LIMITS["int"]),
    "long": _integer(LIMITS["long"]),
    "float": lambda value: None if isinstance(value, int | float) and not isinstance(value, bool) else "a number",
    "double": lambda value: None if isinstance(value, int | float) and not isinstance(value, bool) else "a number",
    "bytes": _base64,
    "uuid": _uuid,
    "timestamp-micros": _time,
}
