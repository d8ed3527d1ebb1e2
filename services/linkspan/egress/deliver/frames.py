"""The frames of the WebSocket queue: ``submit`` to the destination, ``ack`` or ``nack`` back."""

from __future__ import annotations

from typing import Literal

import msgspec

from linkspan.egress.deliver.adapter import Delivery
from linkspan.kernel.errors import DeliveryError, Rejected, Unavailable
from linkspan.kernel.secret import redacted

_SHOWN = 300


class _Submit(msgspec.Struct):
    id: str
    sequence: int
    redelivery: bool
    traceparent: str
    body: msgspec.Raw
    kind: str = "submit"
    replay: str | msgspec.UnsetType = msgspec.UNSET


class Fault(msgspec.Struct):
    field: str = ""
    error: str = ""


class Answer(msgspec.Struct):
    """``retryAfter`` in seconds, with ``busy``."""

    kind: Literal["ack", "nack"]
    id: str
    reason: str | None = None
    errors: list[Fault] = []
    retryAfter: float | None = None  # noqa: N815 - as in the frame


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Answer).decode


def submit_frame(delivery: Delivery) -> bytes:
    return _encode(
        _Submit(
            delivery.message_id,
            delivery.sequence,
            delivery.redelivery,
            delivery.traceparent,
            msgspec.Raw(delivery.body),
            replay=msgspec.UNSET if delivery.replay is None else delivery.replay,
        )
    )


def read_answer(frame: bytes | str) -> Answer | None:
    """None for a frame that is no answer."""
    try:
        return _decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def answer_error(answer: Answer) -> DeliveryError | None:
    if answer.kind == "ack":
        return None
    if answer.reason == "busy":
        return Unavailable("the destination is busy", retry_after=answer.retryAfter)
    faults = "; ".join(f"{fault.field}: {fault.error}" for fault in answer.errors)
    reason = answer.reason or "refused"
    return Rejected(redacted(f"{reason}: {faults}" if faults else reason)[:_SHOWN])
