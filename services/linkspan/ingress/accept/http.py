"""``POST /v1/messages`` as plain ASGI: this route is hot, so no framework stands between it and the pipeline."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog
from opentelemetry.trace import SpanKind

from linkspan.ingress.accept.answers import accepted, send_json, send_outcome, send_problem
from linkspan.ingress.accept.problems import Problem, problem, problem_of
from linkspan.ingress.accept.request import (
    ClientGone,
    Receive,
    Refused,
    Request,
    Scope,
    Send,
    read_body,
    request_id,
)
from linkspan.ingress.accept.spans import accept_span, said, told
from linkspan.ingress.accept.wait import Expected, OutcomeWatch
from linkspan.ingress.admit.door import Door
from linkspan.ingress.append.acceptance import Acceptance
from linkspan.ingress.pipeline import Pipeline
from linkspan.ingress.validate import Origin
from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.telemetry.logs import trace_id
from linkspan.kernel.telemetry.traces import Traced, Tracing

log = structlog.get_logger()

App = Callable[[Scope, Receive, Send], Awaitable[None]]
#: Handles one request: what it answers it sends itself, what it refuses it raises.
Route = Callable[[Scope, Receive, Send, Request, Traced], Awaitable[None]]


class Routes:
    """The hot routes by path; every other path is ``other``'s."""

    def __init__(self, routes: dict[str, Route], other: App, tracing: Tracing, door: Door) -> None:
        self._routes, self._other, self._tracing, self._door = routes, other, tracing, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            await self._other(scope, receive, named(scope, send) if scope["type"] == "http" else send)
            return
        request = Request(scope)
        name, facts = accept_span(scope["path"], scope.get("scheme", "http"), scope["method"])
        traced = self._tracing.begin(name, request.traceparent, SpanKind.SERVER, facts)
        if traced.exported:
            traced.belongs_to(request.answered_correlation())
            send = told(send, traced)
        try:
            client = request.client = await self._door.admit(scope["headers"], address_of(scope))
            client.check()
            client.take(1)
            await route(scope, receive, send, request, traced)
        except ClientGone:
            log.info("a client left before it had sent its message", requestId=request.request_id)
        except Refused as refused:
            await _refuse(send, request, refused.problem, traced)
        except LinkspanError as error:
            refusal = problem_of(error)
            said(traced, refusal.status, error)
            await _refuse(send, request, refusal, traced)
        except Exception as error:
            Tracing.fail(traced, error)
            log.exception("a request failed", requestId=request.request_id, traceId=trace_id(traced.traceparent))
            await send_problem(send, problem(500, "internal", "Something went wrong here; it was logged."), request)
        finally:
            traced.span.end()


async def _refuse(send: Send, request: Request, refusal: Problem, traced: Traced) -> None:
    log_refusal(request, refusal, traced)
    await send_problem(send, refusal, request)


def log_refusal(request: Request, refusal: Problem, traced: Traced) -> None:
    log.info(
        "message refused",
        status=refusal.status,
        reason=refusal.detail or refusal.title,
        errors=refusal.errors,
        client=request.client.name if request.client else None,
        requestId=request.request_id,
        traceId=trace_id(traced.traceparent),
    )


def address_of(scope: Scope) -> str:
    """Empty where it is not known."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def named(scope: Scope, send: Send) -> Send:
    """``send``, which gives each answer its X-Request-ID."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
    line = (b"x-request-id", request_id(given).encode())

    async def naming(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), line]
        await send(message)

    return naming


class Messages:
    """One message a request."""

    def __init__(self, pipeline: Pipeline, watch: OutcomeWatch, body_limit: int) -> None:
        self._pipeline, self._watch, self._limit = pipeline, watch, body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send, request: Request, traced: Traced) -> None:
        limit = request.limit(self._limit)
        request.check(scope["method"], (b"application/json",), limit)
        body = await read_body(receive, limit)
        origin = request.origin(request.correlation_id)
        if request.wait and self._watch.ready:
            await self._take_and_wait(body, origin, send, request, traced)
            return
        acceptance, known = await self._pipeline.take(body, origin, traced.traceparent)
        traced.belongs_to(acceptance.correlation_id)
        await acceptance.settled()
        await _queued(send, request, acceptance, known, will_retry=request.wait > 0)

    async def _take_and_wait(self, body: bytes, origin: Origin, send: Send, request: Request, traced: Traced) -> None:
        expected: list[Expected] = []
        deadline = time.monotonic() + request.wait
        try:
            acceptance, known = await self._pipeline.take(
                body, origin, traced.traceparent, lambda message_id: expected.append(self._watch.expect(message_id))
            )
            traced.belongs_to(acceptance.correlation_id)
            await acceptance.settled()
            left = 0.0 if acceptance.spooled else deadline - time.monotonic()
            found = await self._watch.decided(expected[0], acceptance.flow, left)
        finally:
            for one in expected:
                self._watch.forget(one)
        if found is None:
            await _queued(send, request, acceptance, known, will_retry=True)
        else:
            await send_outcome(send, request, acceptance, found)


async def _queued(send: Send, request: Request, acceptance: Acceptance, known: bool, *, will_retry: bool) -> None:
    headers = request.answer_headers(acceptance.correlation_id)
    if request.wait:
        headers.append((b"preference-applied", b"wait=%d" % request.wait))
    await send_json(send, 202, accepted(acceptance, known, will_retry=will_retry), headers)
