"""What the sending system is told about a message that became a dead letter."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from linkspan.egress.deliver.adapter import Delivery
from linkspan.kernel.codec import Datum
from linkspan.kernel.json_form import iso
from linkspan.kernel.message import Json

_NAMESPACE = uuid.UUID("6f6d0c5e-2f0e-5b51-9c0a-2b6f1d9a7c11")
_encode = msgspec.json.Encoder().encode


def refusal(outcome: Datum, original: Json | None, key_field: str | None, sender: str, traceparent: str) -> Delivery:
    """The notice of a dead letter. ``original``: the event in its JSON form, None where it is gone or unreadable: then
    the outcome's key stands for the flow's key field. The same letter gives the same notice, id and all.
    """
    message_id = str(outcome["messageId"] or f"offset-{outcome['offset']}")
    correlation_id = outcome["correlationId"] or message_id
    values = dict(original["payload"]) if original else {}
    field = key_field.rpartition(".")[2] if key_field else None
    if field and not values.get(field):
        values[field] = outcome["key"]
    payload: dict[str, Any] = {
        "messageId": message_id,
        "class": outcome["failure"] or "unknown",
        "reason": outcome["reason"] or "no reason was recorded",
    }
    if field:
        payload[field] = values[field]
    notice_id = str(uuid.uuid5(_NAMESPACE, f"{message_id}/{outcome['offset']}/refusal"))
    header = {
        "messageId": notice_id,
        "timestamp": iso(outcome["at"]),
        "source": "linkspan",
        "destination": sender,
        "messageType": "event",
        "type": "Refusal",
        "version": "1.0",
    }
    body = {"header": header, "payload": payload, "metadata": {"correlationId": correlation_id}}
    return Delivery(
        notice_id,
        correlation_id,
        outcome["key"],
        outcome["offset"],
        False,
        traceparent,
        1,
        values | {"messageId": message_id},
        _encode(body),
    )
