"""``POST /v1/messages`` in its usual form, answered inside uvicorn's own protocol: no task, no ASGI message.

Whatever is not usual goes the way of every other request, which answers exactly the same (``accept/http.py``): another
path, a preference to wait, a body without a length or a long one, a message that is refused.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from opentelemetry.trace import SpanKind
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from linkspan.ingress.accept.answers import JSON, PROBLEM, accepted
from linkspan.ingress.accept.http import log_refusal
from linkspan.ingress.accept.problems import problem_of
from linkspan.ingress.accept.request import Request, Scope
from linkspan.ingress.append.acceptance import Acceptance
from linkspan.ingress.pipeline import Pipeline
from linkspan.ingress.validate import Origin
from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.telemetry.traces import Traced, Tracing

PATH = "/v1/messages"
#: Bytes; above 64 KiB uvicorn stops reading until the application asks for the body.
LONGEST = 60_000

_encode = msgspec.json.Encoder().encode
_NO_ORIGIN = Origin()


class Hot:
    """What all connections share."""

    def __init__(self, pipeline: Pipeline, tracing: Tracing, body_limit: int) -> None:
        self.take, self.begin = pipeline.take_now, tracing.begin
        self._longest = min(LONGEST, body_limit)

    def request(self, scope: Scope) -> Request | None:
        """None where the usual way must be gone."""
        if scope["path"] != PATH or scope["method"] != "POST":
            return None
        request = Request(scope)
        headers = request.headers
        length = headers.get(b"content-length", b"")
        usual = (
            request.media_type == b"application/json"
            and length.isdigit()
            and len(length) < 6
            and int(length) <= self._longest
            and not request.wait
            and b"content-encoding" not in headers
            and b"transfer-encoding" not in headers
            and b"expect" not in headers
            and b"upgrade" not in headers
        )
        return request if usual else None


class HotProtocol(HttpToolsProtocol):
    """One connection. ``_request`` is set while the body of a usual request is awaited."""

    def __init__(self, hot: Hot, **options: Any) -> None:
        super().__init__(**options)
        self._hot = hot
        self._request: Request | None = None

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._request = None if self.flow.write_paused else self._hot.request(cycle.scope)
        if self._request is None:
            super()._start_asgi_task(cycle, app)
        elif not cycle.more_body:  # it was read while the one before was answered
            self._take(cycle, self._request)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._request is not None and not self.cycle.response_complete:
            self._take(self.cycle, self._request)

    def _take(self, cycle: Any, request: Request) -> None:
        self._request = None
        traced = self._hot.begin("accept", request.traceparent, SpanKind.SERVER)
        correlation = request.correlation_id
        origin = _NO_ORIGIN if correlation is None else Origin(None, correlation)
        try:
            taken = self._hot.take(bytes(cycle.body), origin, traced.traceparent)
        except Exception:  # noqa: BLE001 - nothing was appended: the usual way finds the same, and says it
            taken = None
        if taken is None:
            super()._start_asgi_task(cycle, self.app)
            return
        acceptance, known = taken
        traced.belongs_to(acceptance.correlation_id)
        acceptance.when_settled(partial(self._settled, cycle, request, acceptance, known, traced))

    def _settled(self, cycle: Any, request: Request, acceptance: Acceptance, known: bool, traced: Traced) -> None:
        error = acceptance.error
        if error is None:
            content = _encode(accepted(acceptance, known))
            self._answer(cycle, 202, request.answer_headers(acceptance.correlation_id), JSON, content)
        else:
            self._refuse(cycle, request, error, traced)
        traced.span.end()

    def _refuse(self, cycle: Any, request: Request, error: LinkspanError, traced: Traced) -> None:
        Tracing.fail(traced, error)
        refusal = problem_of(error)
        log_refusal(request, refusal, traced)
        headers = [*request.answer_headers(), *refusal.header_lines()]
        self._answer(cycle, refusal.status, headers, PROBLEM, _encode(refusal.body()))

    def _answer(
        self,
        cycle: Any,
        status: int,
        headers: list[tuple[bytes, bytes]],
        content_type: tuple[bytes, bytes],
        content: bytes,
    ) -> None:
        """As uvicorn ends a response."""
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if cycle.disconnected:
            return
        lines = [*cycle.default_headers, *headers, content_type, (b"content-length", b"%d" % len(content))]
        if not cycle.keep_alive:
            lines.append((b"connection", b"close"))
        head = b"".join([b"%b: %b\r\n" % line for line in lines])
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[status], head, content))
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
