"""The JSON form of Avro records: a message as systems send it, checked fast, and what a datum looks like as JSON.

uuids are text, timestamps ISO 8601 with a zone, bytes base64. Fields that a schema does not know are refused: dropping
them would lose what somebody sent.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Literal, Union

import msgspec

from linkspan.kernel.errors import Fault, InvalidMessage, Poison, UserMistake
from linkspan.kernel.faults import faults, is_blob_reference, leaf_type
from linkspan.kernel.schemas import Schema, expanded

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEPT = (bytes, datetime)


class JsonForm:
    """Checks JSON against one record schema, and renders its data as JSON.

    ``optional``: fields that may be absent although the schema gives them no default; they come out as None.
    """

    def __init__(self, definition: Schema, field: str, optional: frozenset[str] = frozenset()) -> None:
        self._definition, self._field, self._optional = expanded(definition), field, optional
        self.type = struct_type(self._definition, optional)
        self._render = _renderer(self._definition)
        try:
            self.decoder = msgspec.json.Decoder(self.type)
        except TypeError as error:
            raise UserMistake(f"schema {definition['name']}: {_union_mistake(error)}") from error

    def datum(self, value: Any) -> dict[str, Any]:
        """What the encoder takes, from decoded JSON; raises InvalidMessage with every fault."""
        try:
            found = msgspec.convert(value, self.type)
        except msgspec.ValidationError as error:
            raise self.invalid(value, str(error)) from error
        made: dict[str, Any] = plain(found)
        return made

    def invalid(self, value: Any, otherwise: str) -> InvalidMessage:
        """All faults of ``value``; ``otherwise`` is said where the list comes out empty."""
        found = list(faults(self._definition, value, self._field, self._optional))
        return InvalidMessage(found or [Fault(self._field, otherwise)])

    def json(self, datum: dict[str, Any]) -> dict[str, Any]:
        """``datum`` with times as ISO 8601; bytes and blob references are left as they are. May raise Poison."""
        rendered: dict[str, Any] = self._render(datum) if self._render else datum
        return rendered


def plain(struct: Any) -> Any:
    """A struct as dicts and lists; bytes and times stay objects, as the encoder wants them."""
    return msgspec.to_builtins(struct, builtin_types=_KEPT)


def iso(moment: int | datetime) -> str:
    """Microseconds since 1970, or an aware time, as ISO 8601 in UTC; raises Poison beyond the years 1 to 9999."""
    try:
        if isinstance(moment, datetime):
            return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
        seconds, micros = divmod(moment, 1_000_000)
        return f"{_second(seconds)}.{micros:06d}Z" if micros else f"{_second(seconds)}Z"
    except OverflowError as error:
        raise Poison(f"{moment} is no time in microseconds since 1970: it lies beyond the years 1 to 9999") from error


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """Messages come by the thousand in a second: a third of the time of rendering one anew."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:-6]


def struct_type(definition: Schema, optional: frozenset[str] = frozenset(), *, unset: bool = False) -> Any:
    """A msgspec struct that decodes the JSON form of the record strictly.

    ``unset``: a field that is absent stays so, instead of having its default.
    """
    fields: list[Any] = []
    for item in definition["fields"]:
        name, made = item["name"], _type(item["type"], unset)
        if name in optional:
            fields.append((name, Union[made, None], None))  # noqa: UP007 - made at run time
        elif "default" not in item:
            fields.append((name, made))
        elif unset:
            fields.append((name, Union[made, msgspec.UnsetType], msgspec.UNSET))  # noqa: UP007 - made at run time
        else:
            fields.append((name, made, _default(item["type"], item["default"], made)))
    return msgspec.defstruct(definition["name"], fields, kw_only=True, forbid_unknown_fields=True, omit_defaults=unset)


def default_datum(item: Schema) -> Any:
    """What a field's default is to the encoder; ``item`` is the field's schema."""
    made = _type(item["type"])
    return plain(msgspec.convert(_json_default(item["type"], item["default"]), made))


def _default(schema: Any, value: Any, made: Any) -> Any:
    """What msgspec takes for the default that a schema file gives; a default that does not fit is a UserMistake."""
    try:
        ready = msgspec.convert(_json_default(schema, value), made)
    except msgspec.ValidationError as error:
        raise UserMistake(f"a schema's default does not fit its type: {error}") from error
    if ready in ([], {}):
        return msgspec.field(default_factory=type(ready))
    if isinstance(ready, list | dict | msgspec.Struct):
        return msgspec.field(default_factory=lambda: msgspec.convert(_json_default(schema, value), made))
    return ready


def _json_default(schema: Any, value: Any) -> Any:
    """Avro's writing of a default in the JSON form: bytes stand as Latin-1 text, times as microseconds."""
    if isinstance(schema, list):
        return None if value is None else _json_default(schema[0], value)
    kind = schema["type"] if isinstance(schema, dict) else schema
    match kind:
        case "record":
            return {
                item["name"]: _json_default(item["type"], value[item["name"]])
                for item in schema["fields"]
                if item["name"] in value
            }
        case "array":
            return [_json_default(schema["items"], item) for item in value]
        case "map":
            return {name: _json_default(schema["values"], item) for name, item in value.items()}
        case "bytes":
            return value.encode("latin-1")
        case "long" if isinstance(schema, dict) and schema.get("logicalType") == "timestamp-micros":
            return iso(value)
        case _:
            return value


def _union_mistake(error: TypeError) -> str:
    text = str(error)
    if "Struct" in text or "dict" in text:
        return "a union may hold one record or one map besides null: JSON could not tell them apart"
    if "str-like" in text or "`bytes`" in text:
        return "a union may hold one type that JSON writes as text (string, enum, bytes, uuid, time) besides null"
    return f"a union that JSON cannot tell apart: {text.splitlines()[0]}"


def _type(schema: Any, unset: bool = False) -> Any:
    if isinstance(schema, list):
        branches = [_type(branch, unset) for branch in schema if not is_blob_reference(branch)]
        return Union[tuple(branches)]  # noqa: UP007 - made at run time
    if isinstance(schema, str):
        return leaf_type(schema)
    match schema["type"]:
        case "record":
            return struct_type(schema, unset=unset)
        case "array":
            if _weightless(schema["items"]):
                raise UserMistake("the items of a list take no bytes: ten bytes could be said to hold 2^60 of them")
            return list[_type(schema["items"], unset)]  # type: ignore[misc]
        case "map":
            return dict[str, _type(schema["values"], unset)]  # type: ignore[misc]
        case "enum":
            return Literal[tuple(schema["symbols"])]
        case _:
            return leaf_type(schema["type"], schema.get("logicalType"))


def _weightless(schema: Any) -> bool:
    if isinstance(schema, str):
        return schema == "null"
    if isinstance(schema, list) or schema["type"] != "record":
        return False
    return all(_weightless(item["type"]) for item in schema["fields"])


Renderer = Callable[[Any], Any]


def _renderer(schema: Any) -> Renderer | None:
    """None where the datum is its own JSON form."""
    if isinstance(schema, list):
        return _union_renderer(schema)
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


def _union_renderer(branches: list[Any]) -> Renderer | None:
    made = [(_sort(branch), found) for branch in branches if (found := _renderer(branch))]
    by_sort = {sort: found for sorts, found in made for sort in sorts}

    def render(value: Any) -> Any:
        found = by_sort.get(type(value))
        return found(value) if found else value

    return render if by_sort else None


def _sort(branch: Any) -> tuple[type, ...]:
    sorts: dict[str, tuple[type, ...]] = {"record": (dict,), "map": (dict,), "array": (list,)}
    return sorts.get(branch["type"], (int, datetime))


def _record_renderer(schema: Schema) -> Renderer | None:
    made = {item["name"]: found for item in schema["fields"] if (found := _renderer(item["type"]))}
    if not made:
        return None

    def render(datum: dict[str, Any]) -> dict[str, Any]:
        return {name: made[name](value) if name in made else value for name, value in datum.items()}

    return render
