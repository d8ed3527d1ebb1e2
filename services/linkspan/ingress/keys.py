"""The key of a message, read from the structs that validation decoded."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from linkspan.ingress.absent import filler
from linkspan.kernel.errors import Fault, InvalidMessage
from linkspan.kernel.json_form import plain
from linkspan.kernel.message import key_of
from linkspan.kernel.schemas import Schema

#: From header and payload; raises InvalidMessage where the key is empty.
Key = Callable[[Any, Any], str]
_UNCHANGED = ("string", "enum")


def key_reader(path: str | None, payload: Schema) -> Key:
    """``payload``: the schema, with named types written out. Both ways give the key that ``key_of`` does."""
    if path is None:
        return lambda header, _: str(header.messageId)
    names = path.split(".")
    if names[0] == "payload" and _is_text(payload, names[1:]):
        return _of_text(path, attrgetter(".".join(names[1:])))
    fill = filler(payload)

    def read(header: Any, struct: Any) -> str:
        datum = plain(struct)
        if fill:
            fill(datum, "", [])
        return key_of({"header": plain(header), "payload": datum}, path)

    return read


def _of_text(path: str, text_of: Callable[[Any], str]) -> Key:
    def read(_header: Any, payload: Any) -> str:
        key = text_of(payload)
        if not key:
            raise InvalidMessage([Fault(path, "is the flow's key and must not be empty")])
        return key

    return read


def _is_text(schema: Any, names: list[str]) -> bool:
    """Whether the field is always there, and text."""
    if not names:
        return (schema if isinstance(schema, str) else isinstance(schema, dict) and schema["type"]) in _UNCHANGED
    fields = schema["fields"] if isinstance(schema, dict) and schema["type"] == "record" else []
    item = next((item for item in fields if item["name"] == names[0]), None)
    return item is not None and "default" not in item and _is_text(item["type"], names[1:])
