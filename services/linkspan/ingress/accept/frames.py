"""The frames of a source's WebSocket: events come, acks and nacks go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from linkspan.kernel.errors import Fault


class EventFrame(msgspec.Struct):
    """``body`` is the message, as its sender wrote it."""

    kind: Literal["event"]
    id: str
    body: msgspec.Raw
    traceparent: str | None = None


class Unreadable(ValueError):
    """A frame that is no event; ``id`` where it could be made out."""

    def __init__(self, reason: str, frame_id: str | None) -> None:
        super().__init__(reason)
        self.id = frame_id


class _Id(msgspec.Struct):
    id: str


class _Metadata(msgspec.Struct, frozen=True):
    correlationId: str = ""  # noqa: N815 - as in the message


class _Message(msgspec.Struct):
    metadata: _Metadata = _Metadata()


_decode = msgspec.json.Decoder(EventFrame).decode
_decode_id = msgspec.json.Decoder(_Id).decode
_decode_message = msgspec.json.Decoder(_Message).decode
_encode = msgspec.json.Encoder().encode


def read_frame(text: str | bytes) -> EventFrame:
    """Raises Unreadable."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error), _id_of(text)) from None


def correlation_of(frame: EventFrame) -> str:
    """What can be said of a message that was refused: without an id of its own it has the frame's, as when taken."""
    try:
        return _decode_message(frame.body).metadata.correlationId or frame.id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return frame.id


def _id_of(text: str | bytes) -> str | None:
    try:
        return _decode_id(text).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def ack(frame_id: str) -> str:
    return _encode({"kind": "ack", "id": frame_id}).decode()


def nack(frame_id: str | None, faults: Sequence[Fault]) -> str:
    errors: list[dict[str, Any]] = [{"field": fault.field, "error": fault.error} for fault in faults]
    return _encode({"kind": "nack", "id": frame_id, "errors": errors}).decode()
