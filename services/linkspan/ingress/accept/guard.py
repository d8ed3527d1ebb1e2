"""What keeps one sender's connections from costing the others theirs: how many, how slow, how large a head."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from linkspan.ingress.accept.problems import MEDIA_TYPE, problem
from linkspan.ingress.admit.client import network_of
from linkspan.ingress.admit.settings import IntakeSettings
from linkspan.kernel.message import new_id
from linkspan.kernel.telemetry.metrics import CONNECTIONS_ENDED

log = structlog.get_logger()

#: Bytes of a head, or of anything else that is no body; its fields.
LONGEST_HEAD, MOST_FIELDS = 32 * 1024, 100
#: Answers that are not read for so long are given up, seconds.
_UNREAD_SECONDS = 30.0
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds, bytes a second, connections: as ``IntakeSettings`` says."""

    head: float
    body: float
    rate: int
    connections: int
    of_address: int

    @classmethod
    def of(cls, settings: IntakeSettings) -> Patience:
        return cls(
            settings.linkspan_intake_head_seconds,
            settings.linkspan_intake_body_seconds,
            settings.linkspan_intake_bytes_per_second,
            settings.linkspan_intake_connections,
            settings.linkspan_intake_connections_per_address,
        )


class Guard:
    """What all connections share. ``run`` until cancelled: one look at all of them now and then costs a request
    nothing, as a timer for each would."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._all: set[GuardedProtocol] = set()
        self._by_address: Counter[str] = Counter()

    def enter(self, connection: GuardedProtocol, address: str) -> str | None:
        """Why it must not, or None."""
        if len(self._all) >= self.patience.connections:
            return "full"
        if self._by_address[address] >= self.patience.of_address:
            return "address"
        self._all.add(connection)
        self._by_address[address] += 1
        return None

    def leave(self, connection: GuardedProtocol, address: str) -> None:
        if connection in self._all:
            self._all.remove(connection)
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for connection in tuple(self._all):
                connection.look(loop.time())


class _Broken(Exception):
    """Ends the parser's work on a connection that was refused."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's, with limits. A request is being read since ``_since`` (of the loop's clock), None between requests;
    ``_read`` bytes of it are there; ``_beside`` bytes came since there was progress with a body. ``_in_its_body``: the
    parser reads the body of the request that ``cycle`` answers."""

    def __init__(self, guard: Guard, **options: Any) -> None:
        super().__init__(**options)
        self._guard = guard
        self._network = ""
        self._since: float | None = None
        self._in_body = self._in_its_body = self._progress = False
        self._read = self._beside = self._head_bytes = self._fields = 0
        self._unread_since: float | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._network = network_of(str(self.client[0])) if self.client else ""
        self._since = self.loop.time()
        why = self._guard.enter(self, self._network)
        if why is not None:
            self.end(why, 503, "connections", "There are too many connections.", Retry_After="1")

    def connection_lost(self, exc: Exception | None) -> None:
        self._guard.leave(self, self._network)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._since is None:
            self.begin_reading()
        self._progress = False
        super().data_received(data)
        self._read += len(data)
        self._beside = 0 if self._progress else self._beside + len(data)
        if self._beside > LONGEST_HEAD:
            self._too_large()

    def begin_reading(self, *, body: bool = False, read: int = 0) -> None:
        self._since, self._in_body, self._read, self._beside = self.loop.time(), body, read, 0

    def end_reading(self) -> None:
        self._since = None

    def on_message_begin(self) -> None:
        if self._since is None:
            self.begin_reading()
        self._head_bytes = self._fields = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._head_bytes += len(name) + len(value) + 4
        if self._fields > MOST_FIELDS or self._head_bytes > LONGEST_HEAD:
            self._too_large()
            raise _Broken
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_body = self._in_its_body = self._progress = True
        self._since = self.loop.time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._progress = True
        self._since, self._in_body, self._in_its_body = None, False, False
        super().on_message_complete()

    def pause_writing(self) -> None:
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since = None
        super().resume_writing()

    def look(self, now: float) -> None:
        """Ends the connection where its sender takes too long; while it is not read from, no time goes by for it."""
        patience = self._guard.patience
        if self._unread_since is not None and now - self._unread_since > _UNREAD_SECONDS:
            CONNECTIONS_ENDED.labels("unread").inc()
            self.transport.abort()
        elif self._since is None or self.transport.is_closing():
            return
        elif self.flow.read_paused:
            self._since, self._read = now, 0
        elif self._in_body and now - self._since > patience.body + self._read / patience.rate:
            self.end("body", 408, "too-slow", "The body came too slowly.")
        elif not self._in_body and now - self._since > patience.head:
            self.end("head", 408, "too-slow", "No request came in time.")

    def _too_large(self) -> None:
        text = f"at most {MOST_FIELDS} fields and {LONGEST_HEAD} bytes"
        self.end("size", 431, "head-too-large", "The head of the request is too large.", text)

    def send_400_response(self, msg: str) -> None:
        if not self.transport.is_closing():
            self._answer(400, "malformed-request", msg, None, {})

    def end(self, reason: str, status: int, kind: str, title: str, detail: str | None = None, **headers: str) -> None:
        """With an answer, unless one is under way."""
        CONNECTIONS_ENDED.labels(reason).inc()
        log.info("connection ended", reason=reason, address=self._network)
        self._answer(status, kind, title, detail, headers)

    def _answer(self, status: int, kind: str, title: str, detail: str | None, headers: Mapping[str, str]) -> None:
        if not self.is_answering():
            made = problem(status, kind, title, detail, **headers)
            content = msgspec.json.encode(made.body())
            lines = [
                *self.server_state.default_headers,
                *made.header_lines(),
                (b"x-request-id", new_id().encode()),
                (b"content-type", MEDIA_TYPE.encode()),
                (b"content-length", b"%d" % len(content)),
                (b"connection", b"close"),
            ]
            self.transport.write(b"".join([STATUS_LINE[status], *(b"%b: %b\r\n" % line for line in lines), b"\r\n"]))
            self.transport.write(content)
        self.transport.close()

    def is_answering(self) -> bool:
        """Whether an answer has begun, or was given before the request had come whole."""
        cycle = self.cycle
        return cycle is not None and cycle.response_started and (self._in_its_body or not cycle.response_complete)
