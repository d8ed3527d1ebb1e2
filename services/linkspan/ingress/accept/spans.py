"""The spans in which ingress takes messages in: of an HTTP request, of a frame, of an item of a feed."""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

from linkspan.ingress.accept.request import Send
from linkspan.kernel.telemetry import attributes as of
from linkspan.kernel.telemetry.traces import Traced, Tracing

_STEP = "accept"
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})


#: Of one message of a batch.
CREATED = {of.STEP: _STEP, of.SYSTEM: "kafka", of.OPERATION: "create", of.OPERATION_TYPE: "create"}


@lru_cache(64)
def accept_span(path: str, scheme: str, method: str) -> tuple[str, dict[str, str]]:
    """Name and attributes for a request to a path that is always the same."""
    known = method in _METHODS
    return f"{method if known else 'HTTP'} {path}", {
        of.STEP: _STEP,
        of.METHOD: method if known else "_OTHER",
        of.ROUTE: path,
        of.PATH: path,
        of.SCHEME: scheme,
    }


def source_span(system: str, kind: str) -> tuple[str, dict[str, str]]:
    """Name and attributes for a message from a ``websocket`` connection, or a ``rest`` system's feed."""
    return f"{_STEP} {system}", {
        of.STEP: _STEP,
        of.SYSTEM: kind,
        of.DESTINATION: system,
        of.OPERATION: _STEP,
        of.OPERATION_TYPE: "process",
    }


def said(traced: Traced, status: int, error: Exception) -> None:
    """An answer that is no success: below 500 the mistake is the caller's, and the span no error."""
    if status >= 500:
        Tracing.fail(traced, error)
        traced.told(of.ERROR, str(status))
    else:
        traced.refused(error)


def told(send: Send, traced: Traced) -> Send:
    """``send``, from which the span learns the status."""

    async def telling(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            traced.answered(message["status"])
        await send(message)

    return telling
