"""``POST /v1/messages:batch``: many messages a request, each with a result of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog

from linkspan.ingress.accept.answers import Accepted, send_json
from linkspan.ingress.accept.problems import problem, problem_of
from linkspan.ingress.accept.request import Receive, Refused, Request, Scope, Send, read_body
from linkspan.ingress.append.acceptance import Acceptance
from linkspan.ingress.errors import Malformed, NotNow
from linkspan.ingress.pipeline import Pipeline
from linkspan.ingress.validate import Origin
from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.telemetry.logs import trace_id
from linkspan.kernel.telemetry.traces import Traced

log = structlog.get_logger()

#: Messages of one batch, at most.
LINES = 10_000
#: After so many lines others get their turn.
TURN = 64

_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
Taken = tuple[Acceptance, bool] | LinkspanError


class Batch:
    """A faulty line does not touch the others. Messages of one key keep the order of their lines."""

    def __init__(self, pipeline: Pipeline, body_limit: int) -> None:
        self._pipeline, self._limit = pipeline, body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send, request: Request, traced: Traced) -> None:
        request.check(scope["method"], (b"application/json", b"application/x-ndjson"), self._limit)
        origin = Origin(None, request.checked_correlation())
        lines = _lines(await read_body(receive, self._limit), request.media_type)
        taken = await self._take(lines, origin, traced.traceparent)
        results, statuses = _results(lines, taken)
        status, headers = _overall(statuses), request.answer_headers()
        if status == 503:
            headers.append((b"retry-after", b"2"))
        log.info(
            "batch taken",
            messages=len(lines),
            queued=statuses.count(202),
            requestId=request.request_id,
            traceId=trace_id(traced.traceparent),
        )
        await send_json(send, status, {"results": results}, headers)

    async def _take(self, lines: list[tuple[int, bytes]], origin: Origin, traceparent: str) -> list[Taken]:
        """In order; returns when Kafka has answered for the last of them."""
        taken: list[Taken] = []
        take_now = self._pipeline.take_now
        left = _Countdown(len(lines))
        down = left.down
        for count, (_, raw) in enumerate(lines, 1):
            try:
                one = take_now(raw, origin, traceparent) or await self._pipeline.take(raw, origin, traceparent)
            except LinkspanError as error:
                taken.append(error)
                down()
            else:
                taken.append(one)
                one[0].when_settled(down)
            if count % TURN == 0:
                await asyncio.sleep(0)
        await left.zero
        return taken


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
            statuses.append(503 if isinstance(failure, NotNow) else 400)
        elif isinstance(what, tuple):
            acceptance, known = what
            results.append(Accepted(acceptance.message_id, acceptance.correlation_id, True, known, False, number, 202))
            statuses.append(202)
    return results, statuses


def _overall(statuses: list[int]) -> int:
    """All queued 202, some 207, none: 503 if that may pass, else 400."""
    if 202 in statuses:
        return 202 if all(status == 202 for status in statuses) else 207
    return 503 if 503 in statuses else 400
