"""The JSON form of Avro records: a message as systems send it, checked fast, and what a datum looks like as JSON.

uuids are text, timestamps ISO 8601 with a zone, bytes base64. Fields that a schema does not know are refused: dropping
them would lose what somebody sent.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal, Union

import msgspec

from linkspan.kernel.errors import Fault, InvalidMessage, UserMistake
from linkspan.kernel.faults import LIMITS, UUID_PATTERN, faults, is_blob_reference
from linkspan.kernel.schemas import Schema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEPT = (bytes, datetime)


class JsonForm:
    """Checks JSON against one record schema, and renders its data as JSON.

    ``optional``: fields that may be absent although the schema gives them no default; they come out as None.
    """

    def __init__(self, definition: Schema, field: str, optional: frozenset[str] = frozenset()) -> None:
        self._definition, self._field, self._optional = definition, field, optional
        self.type = struct_type(definition, optional)
        self._render = _renderer(definition)

    def datum(self, value: Any) -> dict[str, Any]:
        """What the encoder takes, from decoded JSON; raises InvalidMessage with every fault."""
        try:
            return plain(msgspec.convert(value, self.type))
        except msgspec.ValidationError as error:
            raise self.invalid(value, str(error)) from error

    def invalid(self, value: Any, otherwise: str) -> InvalidMessage:
        """All faults of ``value``; ``otherwise`` is said where the list comes out empty."""
        found = list(faults(self._definition, value, self._field, self._optional))
        return InvalidMessage(found or [Fault(self._field, otherwise)])

    def json(self, datum: dict[str, Any]) -> dict[str, Any]:
        """``datum`` with times as ISO 8601; bytes and blob references are left as they are."""
        rendered: dict[str, Any] = self._render(datum) if self._render else datum
        return rendered


def plain(struct: Any) -> dict[str, Any]:
    """A struct as dicts and lists; bytes and times stay objects, as the encoder wants them."""
    made: dict[str, Any] = msgspec.to_builtins(struct, builtin_types=_KEPT)
    return made


def iso(micros: int) -> str:
    """Microseconds since 1970 as ISO 8601 in UTC."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat().replace("+00:00", "Z")


def struct_type(definition: Schema, optional: frozenset[str] = frozenset()) -> Any:
    """A msgspec struct that decodes the JSON form of the record strictly."""
    fields: list[Any] = []
    for item in definition["fields"]:
        name, made = item["name"], _type(item["type"])
        if name in optional:
            fields.append((name, Union[made, None], None))  # noqa: UP007 - made at run time
        elif "default" in item:
            fields.append((name, made, _default(item["default"])))
        else:
            fields.append((name, made))
    return msgspec.defstruct(definition["name"], fields, kw_only=True, forbid_unknown_fields=True)


def _default(value: Any) -> Any:
    if isinstance(value, list | dict):
        return msgspec.field(default_factory=type(value))
    return value


def _type(schema: Any) -> Any:
    if isinstance(schema, list):
        branches = [_type(branch) for branch in schema if not is_blob_reference(branch)]
        return Union[tuple(branches)]  # noqa: UP007 - made at run time
    if isinstance(schema, str):
        return _primitive(schema)
    match schema["type"]:
        case "record":
            return struct_type(schema)
        case "array":
            return list[_type(schema["items"])]  # type: ignore[misc]
        case "map":
            return dict[str, _type(schema["values"])]  # type: ignore[misc]
        case "enum":
            return Literal[tuple(schema["symbols"])]
        case _:
            return _primitive(schema.get("logicalType") or schema["type"], schema["type"])


def _primitive(name: str, base: str | None = None) -> Any:
    types = {
        "null": None,
        "boolean": bool,
        "string": str,
        "int": Annotated[int, msgspec.Meta(ge=-LIMITS["int"], le=LIMITS["int"] - 1)],
        "long": Annotated[int, msgspec.Meta(ge=-LIMITS["long"], le=LIMITS["long"] - 1)],
        "float": float,
        "double": float,
        "bytes": bytes,
        "uuid": Annotated[str, msgspec.Meta(pattern=UUID_PATTERN)],
        "timestamp-micros": Annotated[datetime, msgspec.Meta(tz=True)],
    }
    for candidate in (name, base):
        if candidate in types:
            return types[candidate]
    raise UserMistake(f"a message schema cannot use the Avro type {name!r}")


Renderer = Callable[[Any], Any]


def _renderer(schema: Any) -> Renderer | None:
    """None where the datum is its own JSON form."""
    if isinstance(schema, list):
        branch = next((branch for branch in schema if _renderer(branch)), None)
        return _each(branch, lambda render, value: None if value is None else render(value)) if branch else None
    if isinstance(schema, str):
        return None
    match schema["type"]:
        case "record":
            return _record_renderer(schema)
        case "array":
            return _each(schema["items"], lambda render, values: [render(value) for value in values])
        case "map":
            return _each(schema["values"], lambda render, values: {key: render(value) for key, value in values.items()})
        case _:
            return iso if schema.get("logicalType") == "timestamp-micros" else None


def _each(schema: Any, apply: Callable[[Renderer, Any], Any]) -> Renderer | None:
    render = _renderer(schema)
    return partial(apply, render) if render else None


def _record_renderer(schema: Schema) -> Renderer | None:
    made = {item["name"]: found for item in schema["fields"] if (found := _renderer(item["type"]))}
    if not made:
        return None

    def render(datum: dict[str, Any]) -> dict[str, Any]:
        return {name: made[name](value) if name in made else value for name, value in datum.items()}

    return render
