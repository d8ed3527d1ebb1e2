"""What a payload holds that JSONata cannot take as it is: large content elsewhere, and whole numbers it would round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from linkspan.kernel.errors import Poison
from linkspan.kernel.faults import is_blob_reference
from linkspan.kernel.steps import StepContext

#: JSONata counts in doubles; whole numbers above this would lose digits.
MAX_WHOLE = 2**53
_REFERENCE = {"address", "digest", "size", "mediaType"}


def may_hold(schema: Any) -> bool:
    """Whether payloads of this (expanded) schema can hold either."""
    if isinstance(schema, list):
        return any(may_hold(branch) for branch in schema)
    if isinstance(schema, str):
        return schema == "long"
    if is_blob_reference(schema) or schema["type"] == "long":
        return True
    below = [field["type"] for field in schema.get("fields", ())]
    return may_hold(below + [schema[name] for name in ("items", "values") if name in schema])


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
