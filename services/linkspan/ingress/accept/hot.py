"""``POST /v1/messages`` in its usual form, answered without a parser's callbacks, a task, or an ASGI message.

A connection is uvicorn's; only bytes that come when no request is under way in it are looked at first (``usual``).
Whatever is not usual goes to uvicorn, as does every message that is refused, and is answered exactly the same by
``accept/http.py``. As with uvicorn, a request that was sent ahead waits for the answer to the one before.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from opentelemetry.trace import SpanKind
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from linkspan.ingress.accept.answers import JSON, PROBLEM, accepted
from linkspan.ingress.accept.guard import Guard, GuardedProtocol
from linkspan.ingress.accept.http import log_refusal
from linkspan.ingress.accept.problems import problem_of
from linkspan.ingress.accept.request import REQUEST_ID, Request
from linkspan.ingress.accept.spans import accept_span, said
from linkspan.ingress.accept.usual import PATH, Usual, usual
from linkspan.ingress.admit.client import Client
from linkspan.ingress.admit.door import Door
from linkspan.ingress.append.acceptance import Acceptance
from linkspan.ingress.pipeline import Pipeline
from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.message import new_id
from linkspan.kernel.telemetry.traces import Traced, Tracing

#: Bytes; above 64 KiB uvicorn stops reading until the application asks for the body.
LONGEST = 60_000

_encode = msgspec.json.Encoder().encode
_CLOSE = b"connection: close\r\n"
_NAME, _FACTS = accept_span(PATH.decode(), "http", "POST")
_is_request_id = re.compile(REQUEST_ID.encode()).match


class Hot:
    """What all connections share."""

    def __init__(self, pipeline: Pipeline, tracing: Tracing, body_limit: int, door: Door, guard: Guard) -> None:
        self.take, self.begin, self.admit, self.guard = pipeline.take_now, tracing.begin, door.admit_now, guard
        self.longest = min(LONGEST, body_limit)
        self._lines: list[tuple[bytes, bytes]] = []
        self._rendered = b""

    def default_lines(self, lines: list[tuple[bytes, bytes]]) -> bytes:
        """As they are sent; uvicorn makes a new list each second."""
        if lines is not self._lines:
            self._lines, self._rendered = lines, _rendered(lines)
        return self._rendered


class _UnderWay(msgspec.Struct):
    """``known``: the message was accepted before."""

    request: Usual
    client: Client
    acceptance: Acceptance
    known: bool
    traced: Traced


class HotProtocol(GuardedProtocol):
    """One connection. ``_held``: bytes of the next request; it is complete with ``_needed``."""

    def __init__(self, hot: Hot, **options: Any) -> None:
        super().__init__(hot.guard, **options)
        self._hot = hot
        self._under_way: _UnderWay | None = None
        self._held = b""
        self._needed = 0
        self._in_parser = self._taking = self._ends = False
        self._answered_at = 0.0

    def on_message_begin(self) -> None:
        self._in_parser = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._in_parser = False
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        if self._under_way is not None:
            self._held = data
            self.flow.pause_reading()
        elif len(data) < self._needed:
            self._held, self._read = data, len(data)
        else:
            self._held, self._needed = b"", 0
            self._take_all(data)

    def _take_all(self, data: bytes) -> None:
        """One request after the other, until one waits for Kafka, or for its own end."""
        while data:
            request = None if self._is_uvicorns() else usual(data, self._hot.longest)
            if request is not None and request.end > len(data):
                self._held, self._needed = data, request.end
                self.begin_reading(body=True, read=len(data))
                return
            if request is None or not self._take(request, data[request.start : request.end]):
                self._pass_on(data)
                return
            data = data[request.end :]
            if self._under_way is not None:
                self._held = data
                return

    def is_answering(self) -> bool:
        return self._under_way is not None or super().is_answering()

    def _is_uvicorns(self) -> bool:
        """It reads a request, or answers one, or the client does not read its answers."""
        answering = self.cycle is not None and not self.cycle.response_complete
        return self._in_parser or answering or self.flow.write_paused

    def _pass_on(self, data: bytes) -> None:
        super().data_received(data)
        if self._ends:
            super().shutdown()

    def _take(self, request: Usual, body: bytes) -> bool:
        """False where uvicorn's way must be gone: nothing was appended then."""
        client = self._hot.admit(request.fields, self.client[0] if self.client else "")
        if client is None or len(body) > client.limit(self._hot.longest) or not client.may_now():
            return False
        traced = self._hot.begin(_NAME, request.traceparent, SpanKind.SERVER, _FACTS)
        try:
            taken = self._hot.take(body, client.origin_with(request.correlation_id), traced.traceparent)
        except Exception:  # noqa: BLE001 - the usual way finds the same, and says it
            return False
        if taken is None:
            return False
        acceptance, known = taken
        client.take(1)
        self.end_reading()
        traced.belongs_to(acceptance.correlation_id)
        self._under_way = _UnderWay(request, client, acceptance, known, traced)
        self._taking = True
        acceptance.when_settled(self._settled)
        self._taking = False
        return True

    def _settled(self) -> None:
        done = self._under_way
        if done is None:
            return
        self._under_way = None
        if done.acceptance.error is None:
            self._accept(done)
        else:
            self._refuse(done, done.acceptance.error)
        done.traced.span.end()
        if self._held and not self._taking and not self.transport.is_closing():
            data, self._held = self._held, b""
            self.flow.resume_reading()
            self._take_all(data)

    def _accept(self, done: _UnderWay) -> None:
        given = done.request.fields.get(b"x-request-id")
        request_id = given if given is not None and _is_request_id(given) else new_id().encode()
        done.traced.answered(202)
        correlation_id = done.acceptance.correlation_id.encode()
        lines = b"x-request-id: %b\r\nx-correlation-id: %b\r\n" % (request_id, correlation_id)
        self._write(202, lines, JSON, _encode(accepted(done.acceptance, done.known)))

    def _refuse(self, done: _UnderWay, error: LinkspanError) -> None:
        request = Request({"headers": done.request.fields.items()})
        request.client = done.client
        refusal = problem_of(error)
        done.traced.answered(refusal.status)
        said(done.traced, refusal.status, error)
        log_refusal(request, refusal, done.traced)
        lines = _rendered([*request.answer_headers(), *refusal.header_lines()])
        self._write(refusal.status, lines, PROBLEM, _encode(refusal.body()))

    def _write(self, status: int, lines: bytes, content_type: tuple[bytes, bytes], content: bytes) -> None:
        if self.transport.is_closing():
            return
        state = self.server_state
        state.total_requests += 1
        defaults = self._hot.default_lines(state.default_headers)
        end = _CLOSE if self._ends else b""
        self.transport.write(
            b"%b%b%b%b: %b\r\ncontent-length: %d\r\n%b\r\n%b"
            % (STATUS_LINE[status], defaults, lines, *content_type, len(content), end, content)
        )
        self._answered_at = self.loop.time()
        if self._ends:
            self.transport.close()
        elif self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """uvicorn sets its timer anew with each request; a hot one leaves it, and it looks how long nothing came."""
        if self.transport.is_closing():
            return
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if self._under_way is not None or self._held:
            self._look_again_in(self.timeout_keep_alive)
        elif left > 0:
            self._look_again_in(left)
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """Ends the connection, after the answer to what is under way."""
        if self._under_way is not None or self._held:
            self._ends = True
        else:
            super().shutdown()


def _rendered(lines: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % line for line in lines])
