"""From an item of a change feed to a message: its id, its envelope, its flow."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec

from linkspan.ingress.accept.feed import cursor_text
from linkspan.kernel.faults import UUID_PATTERN
from linkspan.kernel.message import text_at
from linkspan.kernel.spec import Poll
from linkspan.kernel.telemetry.traces import valid

#: Of message ids made from source and change; never changed, or a change that is read again would be another message.
_NAMESPACE = uuid.UUID("3f2d6c4e-9a55-5d0a-8f5c-1f1f3a0d6b77")
_UUID = re.compile(UUID_PATTERN)
_OF_METADATA = ("correlationId", "priority", "ttl")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Payload(msgspec.Struct):
    payload: msgspec.Raw


_decode_payload = msgspec.json.Decoder(_Payload).decode


@dataclass(frozen=True, slots=True)
class Change:
    """``message``: what a sender would have sent; None where the item is none. ``change``: its number, for people.

    ``correlation_id`` and ``traceparent`` only where the item has usable ones.
    """

    raw: bytes
    change: str | None
    type: str | None
    message_id: str
    correlation_id: str | None
    traceparent: str | None
    message: bytes | None
    fields: dict[str, Any]

    def key(self, path: str | None) -> str:
        """The flow's key as far as the item has it, so that it lies with the others of its key; else its own id."""
        return (text_at(self.fields, path) if path else None) or self.message_id


class Changes:
    """Reads the items of one source."""

    def __init__(self, source: str, poll: Poll) -> None:
        self._source, self._poll = source, poll

    def read(self, raw: bytes) -> Change:
        """Never raises: what is wrong with an item is found when its message is validated."""
        try:
            item = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            item = None
        fields = item if isinstance(item, dict) else {}
        change, type_name = cursor_text(fields.get(self._poll.cursor)), fields.get("type")
        type_name = type_name if isinstance(type_name, str) else None
        message_id = self._message_id(fields, change, raw)
        correlation = fields.get("correlationId")
        traceparent = fields.get("traceparent")
        return Change(
            raw,
            change,
            type_name,
            message_id,
            correlation.lower() if isinstance(correlation, str) and _UUID.match(correlation) else None,
            valid(traceparent) if isinstance(traceparent, str) else None,
            _message(raw, fields, type_name, message_id) if type_name and "payload" in fields else None,
            {"header": {"messageId": message_id}, "payload": fields.get("payload"), "metadata": fields},
        )

    def _message_id(self, fields: dict[str, Any], change: str | None, raw: bytes) -> str:
        """The same whenever the item is read again."""
        own = fields.get(self._poll.id) if self._poll.id else None
        if isinstance(own, str) and _UUID.match(own):
            return own.lower()
        what = change if change is not None else f"sha256:{hashlib.sha256(raw).hexdigest()}"
        return str(uuid.uuid5(_NAMESPACE, f"{self._source}/{what}"))


def _message(raw: bytes, fields: dict[str, Any], type_name: str, message_id: str) -> bytes:
    """The payload goes in as it stands, so that what is wrong with it is found where it is wrong."""
    header: dict[str, Any] = {"messageId": message_id, "type": type_name}
    if _is_moment(fields.get("at")):
        header["timestamp"] = fields["at"]
    metadata = {name: fields[name] for name in _OF_METADATA if fields.get(name) is not None}
    return _encode({"header": header, "payload": _decode_payload(raw).payload, "metadata": metadata})


def _is_moment(value: Any) -> bool:
    try:
        msgspec.convert(value, _Moment)
    except msgspec.ValidationError:
        return False
    return isinstance(value, str)
