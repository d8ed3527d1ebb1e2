"""How a batch looks, and what its answer says of each message in it.

Request: ``{"messages": [{"messageId", "path", "sequence", "redelivery", "correlationId", "traceparent", "body"}, …]}``,
and ``"replay"`` where it is one.
Answer, with any 2xx: ``{"results": [{"messageId", "status", …}, …]}`` in any order; ``status`` is the HTTP status that
the message alone would have got, the rest as in problem details, and ``retryAfter`` in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from linkspan.egress.deliver.adapter import Delivery
from linkspan.egress.deliver.http_answer import status_error
from linkspan.kernel.errors import DeliveryError
from linkspan.kernel.http.answer import said


class _Item(msgspec.Struct, omit_defaults=True, rename="camel"):
    message_id: str
    path: str
    sequence: int
    body: msgspec.Raw
    traceparent: str
    redelivery: bool
    correlation_id: str | None = None
    replay: str | None = None


class _Batch(msgspec.Struct):
    messages: list[_Item]


class _Answer(msgspec.Struct):
    results: list[dict[str, Any]]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Answer).decode


def batch_body(items: Iterable[tuple[Delivery, str]]) -> bytes:
    """Of deliveries with the path that each would have gone to alone."""
    return _encode(
        _Batch(
            [
                _Item(
                    one.message_id,
                    path,
                    one.sequence,
                    msgspec.Raw(one.body),
                    one.traceparent,
                    one.redelivery,
                    one.correlation_id,
                    one.replay,
                )
                for one, path in items
            ]
        )
    )


def read_results(body: bytes) -> dict[str, DeliveryError | None] | None:
    """By message id, as far as it can be read; None where the answer has no results at all."""
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return dict(_readable(answer.results))


def _readable(results: list[dict[str, Any]]) -> Iterator[tuple[str, DeliveryError | None]]:
    """Of two results for one message the last counts."""
    for result in results:
        message_id, status, after = (result.get(name) for name in ("messageId", "status", "retryAfter"))
        if isinstance(message_id, str) and isinstance(status, int) and 200 <= status < 600:
            seconds = float(after) if isinstance(after, int | float) and after >= 0 else None
            yield message_id, status_error(status, result, said(result, b""), seconds)
