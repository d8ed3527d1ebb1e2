"""What a payload holds that JSONata cannot take as it is: large content elsewhere, and whole numbers it would round."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from linkspan.kernel.errors import Poison
from linkspan.kernel.faults import is_blob_reference
from linkspan.kernel.steps import StepContext

#: JSONata counts in doubles; whole numbers above this would lose digits.
MAX_WHOLE = 2**53
_REFERENCE = {"address", "digest", "size", "mediaType"}


Look = Callable[[Any], bool]


def look(schema: Any) -> Look | None:
    """A fast first look at payloads of this (expanded) schema: whether one holds either; None where none can."""
    if isinstance(schema, list):
        below = [found for branch in schema if (found := look(branch))]
        return (lambda value: value is not None and any(found(value) for found in below)) if below else None
    if isinstance(schema, str):
        return _too_large if schema == "long" else None
    if is_blob_reference(schema):
        return lambda value: type(value) is dict
    match schema["type"]:
        case "record":
            return _record_look(schema)
        case "array":
            each = look(schema["items"])
            return partial(_any_item, each) if each else None
        case "map":
            each = look(schema["values"])
            return partial(_any_value, each) if each else None
        case kind:
            return look(kind) if "logicalType" not in schema else None


def _record_look(schema: Any) -> Look | None:
    fields = [(field["name"], found) for field in schema["fields"] if (found := look(field["type"]))]

    def looked(record: Any) -> bool:
        if type(record) is not dict:
            return False  # another branch of a union
        return any([found(record.get(name)) for name, found in fields])  # noqa: C419 - faster than a generator

    return looked if fields else None


def _any_item(each: Look, values: Any) -> bool:
    return type(values) is list and any(map(each, values))


def _any_value(each: Look, values: Any) -> bool:
    return type(values) is dict and any(map(each, values.values()))


def _too_large(value: Any) -> bool:
    return type(value) is int and not -MAX_WHOLE <= value <= MAX_WHOLE


def holds_reference(payload: Any, *, rounded: bool) -> bool:
    """``rounded``: raises Poison for a whole number that JSONata would round."""
    return any([True for _ in _references(payload, "payload", rounded)])  # noqa: C419 - all numbers are looked at


async def with_content(payload: dict[str, Any], context: StepContext, *, rounded: bool) -> dict[str, Any]:
    """``payload`` with the content itself in place of its references; the original stays as it is."""
    if not holds_reference(payload, rounded=rounded):
        return payload
    return {name: await _resolved(value, context) for name, value in payload.items()}


async def _resolved(value: Any, context: StepContext) -> Any:
    if isinstance(value, dict):
        if _is_reference(value):
            return await context.content(value)
        return {name: await _resolved(item, context) for name, item in value.items()}
    if isinstance(value, list):
        return [await _resolved(item, context) for item in value]
    return value


def _references(value: Any, field: str, rounded: bool) -> Iterator[dict[str, Any]]:
    kind = type(value)
    if kind is dict:
        if _is_reference(value):
            yield value
        for name, item in value.items():
            if type(item) in _WALKED:
                yield from _references(item, f"{field}.{name}", rounded)
    elif kind is list:
        for index, item in enumerate(value):
            if type(item) in _WALKED:
                yield from _references(item, f"{field}[{index}]", rounded)
    elif rounded and not -MAX_WHOLE <= value <= MAX_WHOLE:
        raise Poison(f"{field}: a transform keeps whole numbers up to 2^53 exactly; {value} must be sent as text")


_WALKED = frozenset({dict, list, int})


def _is_reference(value: dict[str, Any]) -> bool:
    return value.keys() == _REFERENCE and isinstance(value["digest"], str) and isinstance(value["size"], int)
