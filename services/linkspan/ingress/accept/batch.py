"""``POST /v1/messages:batch``: many messages a request, each with a result of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog
from opentelemetry.trace import SpanKind

from linkspan.ingress.accept.answers import Accepted, send_json
from linkspan.ingress.accept.problems import problem, problem_of
from linkspan.ingress.accept.request import Receive, Refused, Request, Scope, Send, read_body
from linkspan.ingress.accept.spans import CREATED, said
from linkspan.ingress.append.acceptance import Acceptance
from linkspan.ingress.errors import Forbidden, Malformed, NotNow
from linkspan.ingress.pipeline import Pipeline
from linkspan.ingress.validate import Origin
from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.telemetry import attributes as of
from linkspan.kernel.telemetry.logs import trace_id
from linkspan.kernel.telemetry.traces import UNTRACED, Linked, Traced, Tracing, is_sampled

log = structlog.get_logger()

#: Messages of one batch, at most.
LINES = 10_000
#: After so many lines others get their turn.
TURN = 64

_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
Taken = tuple[Acceptance, bool] | LinkspanError


class Batch:
    """A faulty line does not touch the others. Messages of one key keep the order of their lines.

    Each message has a trace of its own that links to the request's; a caller's flag decides for all of them.
    """

    def __init__(self, pipeline: Pipeline, body_limit: int, tracing: Tracing) -> None:
        self._pipeline, self._limit, self._tracing = pipeline, body_limit, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send, request: Request, traced: Traced) -> None:
        limit = request.limit(self._limit)
        request.check(scope["method"], (b"application/json", b"application/x-ndjson"), limit)
        origin = request.origin(request.checked_correlation())
        lines = _lines(await read_body(receive, limit), request.media_type)
        if request.client is not None:
            request.client.take(len(lines) - 1)  # the request was one already
        traced.told(of.BATCH_COUNT, len(lines))
        taken = await self._take(lines, origin, request, traced)
        results, statuses = _results(lines, taken)
        status, headers = _overall(statuses), request.answer_headers()
        if status == 503:
            Tracing.fail(traced, NotNow("no message of the batch could be taken"))
            headers.append((b"retry-after", b"2"))
        log.info(
            "batch taken",
            messages=len(lines),
            queued=statuses.count(202),
            requestId=request.request_id,
            traceId=trace_id(traced.traceparent),
        )
        await send_json(send, status, {"results": results}, headers)

    async def _take(
        self, lines: list[tuple[int, bytes]], origin: Origin, request: Request, batch: Traced
    ) -> list[Taken]:
        """In order; returns when Kafka has answered for the last of them."""
        taken: list[Taken] = []
        take_now = self._pipeline.take_now
        left = _Countdown(len(lines))
        down = left.down
        for count, (_, raw) in enumerate(lines, 1):
            traced = self._begin(request.traceparent, batch)
            traceparent = traced.traceparent
            try:
                one = take_now(raw, origin, traceparent) or await self._pipeline.take(raw, origin, traceparent)
            except LinkspanError as error:
                if traced.exported:
                    traced.belongs_to(request.answered_correlation())
                    said(traced, problem_of(error).status, error)
                taken.append(error)
                down()
            else:
                traced.belongs_to(one[0].correlation_id)
                taken.append(one)
                one[0].when_settled(down)
            traced.span.end()
            if count % TURN == 0:
                await asyncio.sleep(0)
        await left.zero
        return taken

    def _begin(self, caller: str | None, batch: Traced) -> Traced:
        begun = self._tracing.new_trace(sampled=None if caller is None else is_sampled(caller))
        if not (is_sampled(begun) and batch.exported):
            return Traced(begun, UNTRACED.span)
        links = (Linked(batch.seen(), "batch"),)
        return self._tracing.begin("create", None, SpanKind.PRODUCER, CREATED, links, always=True)


class _Countdown:
    def __init__(self, count: int) -> None:
        self._count = count
        self.zero: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def down(self) -> None:
        self._count -= 1
        if not self._count and not self.zero.done():
            self.zero.set_result(None)


def _lines(body: bytes, media_type: bytes) -> list[tuple[int, bytes]]:
    """(number, JSON) of each message, counted from 1; raises Malformed, or Refused where there are none or too many."""
    if media_type == b"application/json":
        found = list(enumerate(_items(body), 1))
    else:
        found = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    if not found:
        raise Refused(problem(400, "invalid", "The batch holds no message."))
    if len(found) > LINES:
        raise Refused(
            problem(413, "too-large", "The batch is too large.", f"{len(found)} messages, the limit is {LINES}")
        )
    return found


def _items(body: bytes) -> list[Any]:
    try:
        return [bytes(item) for item in _array(body)]
    except msgspec.ValidationError:
        raise Malformed("expected an array of messages, or one message a line as application/x-ndjson") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(str(error).removeprefix("JSON is malformed: ")) from None
    except RecursionError:
        raise Malformed("it is nested too deeply") from None


def _results(lines: list[tuple[int, bytes]], taken: list[Taken]) -> tuple[list[Any], list[int]]:
    """What is said of each line, and its status."""
    results: list[Any] = []
    statuses: list[int] = []
    for (number, _), what in zip(lines, taken, strict=True):
        failure = what[0].error if isinstance(what, tuple) else what
        if failure is not None:
            results.append({"line": number, **problem_of(failure).body()})
            statuses.append(503 if isinstance(failure, NotNow) else 403 if isinstance(failure, Forbidden) else 400)
        elif isinstance(what, tuple):
            acceptance, known = what
            results.append(Accepted(acceptance.message_id, acceptance.correlation_id, True, known, False, number, 202))
            statuses.append(202)
    return results, statuses


def _overall(statuses: list[int]) -> int:
    """All queued 202, some 207, none: 503 if that may pass, 403 if all are forbidden, else 400."""
    if 202 in statuses:
        return 202 if all(status == 202 for status in statuses) else 207
    if 503 in statuses:
        return 503
    return 403 if all(status == 403 for status in statuses) else 400
