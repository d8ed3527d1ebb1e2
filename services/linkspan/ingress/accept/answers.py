"""What ingress answers when a message was taken, and how any answer is sent."""

from __future__ import annotations

from typing import Any

import msgspec

from linkspan.ingress.accept import problems
from linkspan.ingress.accept.problems import Problem
from linkspan.ingress.accept.request import Request, Send
from linkspan.ingress.append.acceptance import Acceptance
from linkspan.kernel.codec import Datum
from linkspan.kernel.json_form import iso

JSON = (b"content-type", b"application/json")
PROBLEM = (b"content-type", problems.MEDIA_TYPE.encode())
#: Outcomes that are no success; the message was not processed and will not be by itself.
FAILED = frozenset({"dead_lettered", "expired", "discarded"})

_encode = msgspec.json.Encoder().encode


class Accepted(msgspec.Struct, omit_defaults=True, rename="camel"):
    """``queued``: Kafka has the event, or the spool. ``will_retry``: it was not delivered while the request waited."""

    message_id: str
    correlation_id: str
    queued: bool | None = None
    duplicate: bool = False
    will_retry: bool = False
    line: int = 0
    status: int = 0


def accepted(acceptance: Acceptance, known: bool, *, will_retry: bool = False) -> Accepted:
    return Accepted(acceptance.message_id, acceptance.correlation_id, True, known, will_retry)


def processed(acceptance: Acceptance, outcome: Datum) -> tuple[int, dict[str, Any]]:
    """Status and body for a message whose outcome is known."""
    kind = outcome["kind"]
    about = {"messageId": acceptance.message_id, "correlationId": acceptance.correlation_id, "outcome": kind}
    if kind not in FAILED:
        data = {"processed": kind == "delivered", **about, "decidedAt": iso(outcome["at"])}
        if kind == "delivered":
            data["deliveredAt"] = data.pop("decidedAt")
        return 200, {"success": True, "data": data}
    failed = Problem(
        type="/problems/not-delivered",
        title="The message was taken, but not delivered.",
        status=422,
        detail=outcome["reason"],
        extra={"success": False, **about, "class": outcome["failure"], "reason": outcome["reason"]},
    )
    return 422, failed.body()


async def send_json(
    send: Send, status: int, body: Any, headers: list[tuple[bytes, bytes]], content_type: tuple[bytes, bytes] = JSON
) -> None:
    content = _encode(body)
    headers += (content_type, (b"content-length", b"%d" % len(content)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def send_problem(send: Send, refusal: Problem, request: Request) -> None:
    headers = [*request.answer_headers(), *refusal.header_lines()]
    await send_json(send, refusal.status, refusal.body(), headers, PROBLEM)


async def send_outcome(send: Send, request: Request, acceptance: Acceptance, outcome: Datum) -> None:
    status, body = processed(acceptance, outcome)
    headers = request.answer_headers(acceptance.correlation_id)
    headers.append((b"preference-applied", b"wait=%d" % request.wait))
    await send_json(send, status, body, headers, JSON if status == 200 else PROBLEM)
