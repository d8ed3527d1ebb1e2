"""Lists everything that is wrong with a JSON value that should fit an Avro schema; runs after the fast check failed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec

from linkspan.kernel.crypto.marks import marked_fields
from linkspan.kernel.crypto.pointers import HIDDEN
from linkspan.kernel.errors import Fault, UserMistake
from linkspan.kernel.schemas import Schema

UUID_PATTERN = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z"
_LIMITS = {"int": 2**31 - 1, "long": 2**63 - 1}
_FLOAT_MAX = 3.4028234663852886e38  # the largest IEEE 754 single

_LEAVES: dict[str, Any] = {
    "null": None,
    "boolean": bool,
    "string": str,
    "int": Annotated[int, msgspec.Meta(ge=-(2**31), le=_LIMITS["int"])],
    "long": Annotated[int, msgspec.Meta(ge=-(2**63), le=_LIMITS["long"])],
    "float": Annotated[float, msgspec.Meta(ge=-_FLOAT_MAX, le=_FLOAT_MAX)],
    "double": float,
    "bytes": bytes,
    "uuid": Annotated[str, msgspec.Meta(pattern=UUID_PATTERN)],
    "timestamp-micros": Annotated[datetime, msgspec.Meta(tz=True)],
}


#: Where a fault's text quotes the value.
SHOWN = "{shown}"


class Quoting(NamedTuple):
    """A fault whose text may quote the value."""

    field: str
    text: str
    value: Any


Found: TypeAlias = Fault | Quoting


def leaf_type(kind: str, logical: str | None = None) -> Any:
    """The msgspec type of a value that has no parts; raises UserMistake for one that a message cannot use."""
    for candidate in (logical, kind):
        if candidate in _LEAVES:
            return _LEAVES[candidate]
    raise UserMistake(f"a message schema cannot use the Avro type {kind!r}")


def faults(schema: Any, value: Any, field: str, optional: frozenset[str] = frozenset()) -> Iterator[Fault]:
    """``optional``: fields of this record (not of nested ones) that may be absent although they have no default.

    Where the schema has a confidential field no value is quoted: any may have come into the wrong place."""
    hides = next(marked_fields(schema), None) is not None
    for found in _faults(schema, value, field, optional):
        if isinstance(found, Fault):
            yield found
        else:
            yield Fault(found.field, found.text.replace(SHOWN, HIDDEN if hides else _shown(found.value)))


def _faults(schema: Any, value: Any, field: str, optional: frozenset[str] = frozenset()) -> Iterator[Found]:
    if isinstance(schema, list):
        yield from _union(schema, value, field)
    elif isinstance(schema, str):
        yield from _primitive(schema, None, value, field)
    elif schema["type"] == "record":
        yield from _record(schema, value, field, optional)
    else:
        yield from _COMPLEX.get(schema["type"], _annotated)(schema, value, field)


def _record(schema: Schema, value: Any, field: str, optional: frozenset[str]) -> Iterator[Found]:
    if not isinstance(value, dict):
        yield _unexpected("an object", value, field)
        return
    known = {item["name"]: item for item in schema["fields"]}
    for name, item in known.items():
        if name in value:
            if not (value[name] is None and name in optional):
                yield from _faults(item["type"], value[name], f"{field}.{name}")
        elif "default" not in item and name not in optional:
            yield Fault(f"{field}.{name}", "required field missing")
    for name in value.keys() - known.keys():
        yield Fault(f"{field}.{name}", f"unknown field; {schema['name']} has {', '.join(known)}")


def _union(branches: list[Any], value: Any, field: str) -> Iterator[Found]:
    if value is None and "null" in branches:
        return
    best: list[Found] | None = None
    for branch in branches:
        if branch == "null" or is_blob_reference(branch):
            continue
        found = list(_faults(branch, value, field))
        if not found:
            return
        best = found if best is None or len(found) < len(best) else best
    yield from best or [_unexpected("null", value, field)]


def _array(schema: Schema, value: Any, field: str) -> Iterator[Found]:
    if not isinstance(value, list):
        yield _unexpected("a list", value, field)
        return
    for index, item in enumerate(value):
        yield from _faults(schema["items"], item, f"{field}[{index}]")


def _map(schema: Schema, value: Any, field: str) -> Iterator[Found]:
    if not isinstance(value, dict):
        yield _unexpected("an object", value, field)
        return
    for name, item in value.items():
        yield from _faults(schema["values"], item, f"{field}.{name}")


def _enum(schema: Schema, value: Any, field: str) -> Iterator[Found]:
    if not isinstance(value, str) or value not in schema["symbols"]:
        yield Quoting(field, f"expected one of {', '.join(schema['symbols'])}; got {SHOWN}", value)


def _annotated(schema: Schema, value: Any, field: str) -> Iterator[Found]:
    yield from _primitive(schema["type"], schema.get("logicalType"), value, field)


def _primitive(kind: str, logical: str | None, value: Any, field: str) -> Iterator[Found]:
    """The fast check's own type decides, so that both agree; the text is ours."""
    try:
        msgspec.convert(value, leaf_type(kind, logical))
    except msgspec.ValidationError:
        wanted, right, otherwise = _TEXTS[(logical if logical in _LEAVES else kind) or "null"]
        yield Quoting(field, otherwise if right(value) else f"expected {wanted}, got {SHOWN}", value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _never(_: Any) -> bool:
    return False


def is_blob_reference(schema: Any) -> bool:
    """References are made by Linkspan; from outside only content is taken."""
    return isinstance(schema, dict) and schema.get("name") == "BlobReference"


def _unexpected(wanted: str, value: Any, field: str) -> Quoting:
    return Quoting(field, f"expected {wanted}, got {SHOWN}", value)


def _shown(value: Any) -> str:
    names: dict[type, str] = {dict: "an object", list: "a list", type(None): "null", bool: "true or false"}
    if type(value) in names:
        return names[type(value)]
    text = str(value)
    return repr(text if len(text) <= 40 else text[:37] + "…")


_COMPLEX = {"array": _array, "map": _map, "enum": _enum}
#: Of each leaf: what is expected, whether a value is of that sort, and what is said where it still does not fit.
_TEXTS: dict[str, tuple[str, Any, str]] = {
    "null": ("null", _never, ""),
    "boolean": ("true or false", _never, ""),
    "string": ("text", _never, ""),
    "int": ("a whole number", _is_whole, f"is out of range: at most {_LIMITS['int']}"),
    "long": ("a whole number", _is_whole, f"is out of range: at most {_LIMITS['long']}"),
    "float": ("a number", _is_number, f"is out of range: at most {_FLOAT_MAX}"),
    "double": ("a number", _is_number, "is out of range of a double"),
    "bytes": ("base64 text", _is_text, "is not base64"),
    "uuid": ("a uuid", _is_text, f"is not a uuid: {SHOWN}"),
    "timestamp-micros": (
        "an ISO 8601 time",
        _is_text,
        f"is not an ISO 8601 time with a zone, such as 2026-01-31T12:00:00Z: {SHOWN}",
    ),
}
