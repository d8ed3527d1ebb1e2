"""What stands around a message in an HTTP request: ids, trace, preference, and the body within its limit."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from linkspan.ingress.accept.problems import Problem, problem, with_faults
from linkspan.ingress.accept.wait import LONGEST_WAIT
from linkspan.ingress.admit.client import Client
from linkspan.ingress.validate import Origin
from linkspan.kernel.errors import Fault
from linkspan.kernel.faults import UUID_PATTERN
from linkspan.kernel.message import new_id
from linkspan.kernel.telemetry.traces import valid

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: What a caller may call its request.
REQUEST_ID = r"[\x21-\x7e]{1,128}\Z"

_REQUEST_ID = re.compile(REQUEST_ID)
_UUID = re.compile(UUID_PATTERN)
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})\"?", re.IGNORECASE)


def request_id(given: bytes | None) -> str:
    """The caller's, where it can stand in a header and a log; else a new one."""
    text = "" if given is None else given.decode("latin-1")
    return text if _REQUEST_ID.match(text) else new_id()


class ClientGone(Exception):
    """The connection ended before the body did."""


class Refused(Exception):
    """Ends a request with ``problem``."""

    def __init__(self, refusal: Problem) -> None:
        super().__init__(refusal.title)
        self.problem = refusal


class Request:
    """``correlation_id`` and ``traceparent`` are the caller's, None where it sent none; ``wait`` in seconds;
    ``client``: whoever sends, None before that is known."""

    __slots__ = ("_answered", "client", "correlation_id", "headers", "media_type", "request_id", "traceparent", "wait")

    def __init__(self, scope: Scope) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        self.headers = headers
        self.client: Client | None = None
        self._answered: str | None = None
        self.request_id = request_id(headers.get(b"x-request-id"))
        correlation = headers.get(b"x-correlation-id")
        self.correlation_id = None if correlation is None else correlation.decode("latin-1").strip()
        self.traceparent = valid(headers.get(b"traceparent", b"").decode("latin-1"))
        self.media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        prefer = headers.get(b"prefer")
        wanted = _WAIT.search(prefer.decode("latin-1")) if prefer else None
        self.wait = min(int(wanted[1]), LONGEST_WAIT) if wanted else 0

    def answered_correlation(self) -> str:
        """That of an answer which is about no one message: the caller's, or a new one."""
        if self._answered is None:
            given = self.correlation_id
            self._answered = given if given and _UUID.match(given) else new_id()
        return self._answered

    def answer_headers(self, correlation_id: str | None = None) -> list[tuple[bytes, bytes]]:
        """Of every answer; without an id of the message it is the request's."""
        if correlation_id is None:
            correlation_id = self.answered_correlation()
        return [(b"x-request-id", self.request_id.encode()), (b"x-correlation-id", correlation_id.encode())]

    def check(self, method: str, media_types: tuple[bytes, ...], limit: int) -> None:
        """Raises Refused for what the headers alone rule out."""
        if method != "POST":
            raise Refused(problem(405, "method", "Only POST is possible here.", Allow="POST"))
        if self.media_type not in media_types or self.headers.get(b"content-encoding", b"identity") != b"identity":
            wanted = " or ".join(name.decode() for name in media_types)
            raise Refused(problem(415, "media-type", f"The body must be {wanted}, not compressed."))
        length = self.headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > limit:
            raise Refused(too_long(limit))

    def origin(self, correlation_id: str | None) -> Origin:
        return Origin(None, correlation_id) if self.client is None else self.client.origin_with(correlation_id)

    def limit(self, most: int) -> int:
        """Bytes of a body; ``most``: anybody's."""
        return most if self.client is None else self.client.limit(most)

    def checked_correlation(self) -> str | None:
        """Raises Refused where it is not a uuid."""
        if self.correlation_id is not None and not _UUID.match(self.correlation_id):
            refusal = problem(400, "invalid", "The request is not valid.")
            raise Refused(with_faults(refusal, [Fault("X-Correlation-ID", "is not a uuid")]))
        return self.correlation_id


def too_long(limit: int) -> Problem:
    return problem(413, "too-large", "The body is too large.", f"the limit is {limit} bytes", Connection="close")


async def read_body(receive: Receive, limit: int) -> bytes:
    """Raises Refused above ``limit`` bytes, however they come, and ClientGone."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise Refused(too_long(limit))
        return body
    parts: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise Refused(too_long(limit))
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    raise ClientGone
