"""A source: the connection that Linkspan holds to a system whose events it receives.

A frame is acknowledged only after Kafka's acknowledgement, refused with every fault, and not answered at all where
neither is known: its sender sends it again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial

import structlog
from opentelemetry.trace import SpanKind
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from linkspan.ingress.accept.frames import EventFrame, Unreadable, ack, correlation_of, nack, read_frame
from linkspan.ingress.accept.spans import source_span
from linkspan.ingress.append.acceptance import Acceptance
from linkspan.ingress.errors import Conflict, Malformed, NotNow, TooLarge
from linkspan.ingress.pipeline import Pipeline
from linkspan.ingress.validate import Origin
from linkspan.kernel.errors import Fault, InvalidMessage
from linkspan.kernel.http.credentials import api_key_headers
from linkspan.kernel.spec import System
from linkspan.kernel.telemetry.logs import trace_id
from linkspan.kernel.telemetry.metrics import REFUSED, SOURCE_CONNECTED
from linkspan.kernel.telemetry.traces import Tracing, valid
from linkspan.kernel.tls.trusted import client_context

log = structlog.get_logger()

#: Frames taken and not yet answered, at most; the next is read when one was.
IN_FLIGHT = 1024
#: Seconds between attempts to connect: the first, the longest, and the one after a refusal.
FIRST_WAIT, LONGEST_WAIT, REFUSED_WAIT = 0.25, 30.0, 30.0
#: WebSocket close code, registry of RFC 6455.
TRY_AGAIN_LATER = 1013


class Source:
    """``run`` holds the connection until it is cancelled, while ``kafka`` is set; ``largest``: bytes of a frame."""

    def __init__(
        self, name: str, system: System, pipeline: Pipeline, tracing: Tracing, largest: int, kafka: asyncio.Event
    ) -> None:
        self._name, self._system, self._pipeline, self._tracing = name, system, pipeline, tracing
        self._largest, self._kafka = largest, kafka
        self._connected = SOURCE_CONNECTED.labels(name)
        self._trouble: str | None = None

    async def run(self) -> None:
        wait = FIRST_WAIT
        while True:
            await self._kafka.wait()
            try:
                if await self._hold_connection():
                    wait = FIRST_WAIT
            except InvalidHandshake as error:
                self._say(f"the handshake was refused: {_reason(error)}")
                wait = REFUSED_WAIT if _is_denied(error) else wait
            except (OSError, TimeoutError, ConnectionClosed) as error:
                self._say(f"cannot be reached: {error or type(error).__name__}")
            except Exception:
                log.exception("source broke", source=self._name)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            wait = min(wait * 2, LONGEST_WAIT)

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.error("source is not connected", source=self._name, reason=trouble)
        self._trouble = trouble

    async def _hold_connection(self) -> bool:
        """Until it ends; whether it ever was one. Raises what connecting does."""
        system = self._system
        async with connect(
            system.url.rstrip("/") + system.source,
            additional_headers=api_key_headers(system),
            ssl=client_context() if system.url.startswith("wss:") else None,
            subprotocols=[Subprotocol(system.subprotocol)] if system.subprotocol else None,
            open_timeout=system.timeout,
            ping_interval=system.heartbeat,
            ping_timeout=system.heartbeat,
            close_timeout=2,
            max_size=self._largest,
            compression=None,
            proxy=None,
        ) as connection:
            log.info("source connected", source=self._name, url=system.url)
            self._trouble = None
            self._connected.set(1)
            try:
                await _Conversation(self._name, connection, self._pipeline, self._tracing).run()
            finally:
                self._connected.set(0)
        log.warning(
            "source disconnected", source=self._name, code=connection.close_code, reason=connection.close_reason
        )
        return True


class _Conversation:
    """One connection's frames; answers go out in the order in which they become known.

    After a frame that was left unanswered none is taken: it would be ahead of that one, which comes again.
    """

    def __init__(self, source: str, connection: ClientConnection, pipeline: Pipeline, tracing: Tracing) -> None:
        self._source, self._connection, self._pipeline, self._tracing = source, connection, pipeline, tracing
        self._name, self._facts = source_span(source, "websocket")
        self._origin = Origin(sender=source)
        self._answers: asyncio.Queue[str] = asyncio.Queue()
        self._free = asyncio.Semaphore(IN_FLIGHT)
        self._closing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Returns when the connection has ended."""
        sender = asyncio.create_task(self._send_answers())
        try:
            async for text in self._connection:
                await self._free.acquire()
                if self._closing:
                    self._free.release()
                else:
                    await self._receive(text)
        except ConnectionClosed:
            pass
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _send_answers(self) -> None:
        while True:
            await self._connection.send(await self._answers.get())

    async def _receive(self, text: str | bytes) -> None:
        try:
            frame = read_frame(text)
        except Unreadable as error:
            self._refuse(error.id, [Fault("frame", str(error))])
            return
        traced = self._tracing.begin(self._name, valid(frame.traceparent), SpanKind.CONSUMER, self._facts)
        try:
            body, traceparent = bytes(frame.body), traced.traceparent
            acceptance, _ = await self._pipeline.take(body, self._origin, traceparent, self._check_open)
            traced.belongs_to(acceptance.correlation_id)
            acceptance.when_settled(partial(self._settled, frame, acceptance))
        except (InvalidMessage, Malformed, TooLarge, Conflict) as error:
            if traced.exported:
                traced.belongs_to(correlation_of(frame))
                traced.refused(error)
            self._refuse(frame.id, _faults(error))
        except NotNow as error:
            traced.belongs_to(correlation_of(frame))
            Tracing.fail(traced, error)
            self._leave(frame, traced.traceparent, str(error))
        finally:
            traced.span.end()

    def _check_open(self, _message_id: str) -> None:
        """An earlier frame's append may have failed while this one's content was checked in. Raises NotNow."""
        if self._closing:
            raise NotNow("a frame before it was left unanswered")

    def _settled(self, frame: EventFrame, acceptance: Acceptance) -> None:
        if acceptance.acked:
            self._answer(ack(frame.id))
        else:
            self._leave(frame, None, str(acceptance.error))

    def _refuse(self, frame_id: str | None, faults: Sequence[Fault]) -> None:
        REFUSED.labels("invalid").inc()
        log.info("frame refused", source=self._source, id=frame_id, errors=[[f.field, f.error] for f in faults])
        self._answer(nack(frame_id, faults))

    def _answer(self, text: str) -> None:
        self._free.release()
        self._answers.put_nowait(text)

    def _leave(self, frame: EventFrame, traceparent: str | None, reason: str) -> None:
        """Unanswered; the connection is closed, so that the peer sends again on the next one and not much later."""
        self._free.release()
        self._closing = self._closing or asyncio.create_task(self._connection.close(TRY_AGAIN_LATER, "Kafka is away"))
        REFUSED.labels("unavailable").inc()
        log.info(
            "frame left unanswered", source=self._source, id=frame.id, traceId=trace_id(traceparent), reason=reason
        )


def _faults(error: InvalidMessage | Malformed | TooLarge | Conflict) -> Sequence[Fault]:
    if isinstance(error, InvalidMessage):
        return error.faults
    return [Fault("header.messageId" if isinstance(error, Conflict) else "message", str(error))]


def _is_denied(error: InvalidHandshake) -> bool:
    return isinstance(error, InvalidStatus) and error.response.status_code in (401, 403)


def _reason(error: InvalidHandshake) -> str:
    if _is_denied(error):
        return f"{error}; check the system's api_key"
    return str(error)
