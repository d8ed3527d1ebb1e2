"""The way of a message through ingress: validate, check large content in, encode, append."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from msgspec import UNSET
from obstore.exceptions import BaseError
from opentelemetry.trace import SpanKind

from linkspan.ingress.append.acceptance import Acceptance, Recent
from linkspan.ingress.append.appender import Appender
from linkspan.ingress.append.lane import Record, Settled
from linkspan.ingress.errors import Conflict, Forbidden, NotNow, TooLarge
from linkspan.ingress.flows import FlowIntake
from linkspan.ingress.seal import Sealing
from linkspan.ingress.validate import Message, Origin, Validator, encode
from linkspan.kernel.blobs import CLAIM_CHECK_BYTES, BlobStore
from linkspan.kernel.codec import Encoded
from linkspan.kernel.crypto.wrapper import KeyAway
from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.message import Json, now_micros
from linkspan.kernel.records.api_key import scope_of
from linkspan.kernel.telemetry import attributes as of
from linkspan.kernel.telemetry.logs import debugging, trace_id
from linkspan.kernel.telemetry.metrics import KNOWN
from linkspan.kernel.telemetry.profiling import PROFILE, Measured
from linkspan.kernel.telemetry.traces import Tracing, is_sampled
from linkspan.kernel.topics import MAX_RECORD_BYTES, Headers, partition_of

log = structlog.get_logger()

Announce = Callable[[str], None]
#: Of a reason that goes into a record header.
_REASON_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Unfit:
    """What came from a source that cannot be refused, and is no message: ``reason`` says why."""

    flow: FlowIntake
    raw: bytes
    message_id: str
    correlation_id: str | None
    key: str
    reason: str
    traceparent: str


class Pipeline:
    """``replica`` goes into ``accepted-by``; with ``accepted-seq`` it says the order in which a replica accepted.
    ``sealing`` None: nothing is encrypted, and no flow has confidential fields."""

    def __init__(
        self,
        validator: Validator,
        blobs: BlobStore,
        appender: Appender,
        tracing: Tracing,
        replica: str,
        sealing: Sealing | None = None,
    ) -> None:
        self._sealing = sealing
        self._validate, self._blobs, self._appender, self._tracing = validator.validate, blobs, appender, tracing
        self._recent = Recent()
        self._accepted_by = (Headers.ACCEPTED_BY, replica.encode())
        self._sequence = itertools.count(1)

    async def take(
        self, raw: bytes, origin: Origin, traceparent: str, announce: Announce | None = None
    ) -> tuple[Acceptance, bool]:
        """The acceptance, settled once Kafka or the spool has the event, and whether the message was known already.

        ``announce`` is called with the message id before anything is appended. Raises Malformed, InvalidMessage,
        Forbidden, Conflict, TooLarge or NotNow; then nothing was appended. Two calls append in the order in which they
        were made if the second was made after the first returned.
        """
        measured = PROFILE.sample()
        message = self._validate(raw, origin)
        if origin.flows is not None and message.flow.name not in origin.flows:
            raise Forbidden(message.flow.name, scope_of(message.flow.name))
        if measured is not None:
            measured.message_id = message.header.messageId
            measured.stage("validate")
        if message.flow.content:
            await self._check_content_in(message)
        if message.flow.confidential and self._sealing:
            await self._sealing.ready(message.key)
        event = self._encode(message)
        if announce:
            announce(message.header.messageId)
        taken = self._append(message, event, traceparent, may_spool=origin.sender is None)
        return taken if measured is None else _measure(measured, taken)

    def take_now(self, raw: bytes, origin: Origin, traceparent: str) -> tuple[Acceptance, bool] | None:
        """``take`` where nothing must be awaited first, else None: then nothing was appended."""
        measured = PROFILE.sample()
        message = self._validate(raw, origin)
        if origin.flows is not None and message.flow.name not in origin.flows:
            raise Forbidden(message.flow.name, scope_of(message.flow.name))
        if measured is not None:
            measured.message_id = message.header.messageId
            measured.stage("validate")
        if message.flow.content and len(raw) > CLAIM_CHECK_BYTES:
            return None
        if message.flow.confidential and self._sealing and not self._sealing.at_hand(message):
            return None
        taken = self._append(message, self._encode(message), traceparent, may_spool=origin.sender is None)
        return taken if measured is None else _measure(measured, taken)

    async def keep(self, unfit: Unfit) -> Acceptance:
        """Appends it as it came, for the owner of its partition to make it a dead letter. Raises NotNow."""
        raw, digest = unfit.raw, hashlib.sha256(unfit.raw).digest()[:8]
        if self._sealing:
            raw, digest = msgspec.structs.astuple(await self._sealing.item(raw, unfit.key))
        known = self._recent.find(unfit.message_id)
        if known and known.digest == digest:
            return known
        value = raw
        if len(value) > MAX_RECORD_BYTES:
            value = msgspec.json.encode({"item": await self._put(unfit.raw, "application/json", unfit.key)})
        acceptance = Acceptance(unfit.flow.name, unfit.message_id, unfit.correlation_id or unfit.message_id, digest)
        key, now = unfit.key.encode(), now_micros()
        headers = [
            (Headers.MESSAGE_ID, unfit.message_id.encode()),
            (Headers.CORRELATION_ID, acceptance.correlation_id.encode()),
            (Headers.TRACEPARENT, unfit.traceparent.encode()),
            (Headers.TYPE, unfit.flow.spec.type.encode()),
            (Headers.REFUSED, unfit.reason.encode()[:_REASON_BYTES]),
            (Headers.DIGEST, digest),
            (Headers.PRIORITY, b"normal"),
            *self._accepted(now),
        ]
        partition = partition_of(key, unfit.flow.spec.partitions)
        self._appender.append(unfit.flow.name, partition, Record(key, value, headers, now // 1000, acceptance.settle))
        if not known:
            self._recent.add(acceptance)
        return acceptance

    def _encode(self, message: Message) -> Encoded:
        event = self._sealing.event(message) if message.flow.confidential and self._sealing else encode(message)
        if len(event.value) > MAX_RECORD_BYTES:
            raise TooLarge(
                f"the event has {len(event.value)} bytes, the limit is {MAX_RECORD_BYTES}; content above "
                f"{CLAIM_CHECK_BYTES} bytes was already taken out of it"
            )
        return event

    async def _check_content_in(self, message: Message) -> None:
        for path in message.flow.content:
            *parents, name = path
            parent: Any = message.payload
            for part in parents:
                parent = getattr(parent, part, None)
            content = getattr(parent, name, None)
            if isinstance(content, bytes) and len(content) > CLAIM_CHECK_BYTES:
                setattr(parent, name, await self._put(content, _media_type(message.payload), message.key))

    async def _put(self, content: bytes, media_type: str | None, key: str) -> Json:
        try:
            return await self._blobs.put(content, media_type, key=key)
        except (BaseError, OSError, KeyAway) as error:
            log.warning("the blob store failed", reason=str(error))
            raise NotNow("the blob store cannot take the content", retry_after=5) from error

    def _append(
        self, message: Message, event: Encoded, traceparent: str, *, may_spool: bool
    ) -> tuple[Acceptance, bool]:
        message_id, flow = message.header.messageId, message.flow
        known = self._recent.find(message_id)
        if known:
            if known.digest != event.digest or known.flow != flow.name:
                raise Conflict(f"message {message_id} was accepted before with another payload")
            KNOWN.labels(flow.name).inc()
            return known, True
        acceptance = Acceptance(flow.name, message_id, message.metadata.correlationId, event.digest)
        key = message.key.encode()
        partition = partition_of(key, flow.spec.partitions)
        traced, settled = self._traced(acceptance, flow, partition, traceparent, len(event.value))
        headers = self._headers(message, event, traced)
        record = Record(key, event.value, headers, message.received // 1000, settled, may_spool)
        self._appender.append(flow.name, partition, record)
        self._recent.add(acceptance)
        if debugging():
            log.debug(
                "message taken",
                messageId=message_id,
                correlationId=acceptance.correlation_id,
                traceId=trace_id(traced),
                flow=flow.name,
                partition=partition,
            )
        return acceptance, False

    def _headers(self, message: Message, event: Encoded, traceparent: str) -> list[tuple[str, bytes]]:
        metadata = message.metadata
        return [
            (Headers.MESSAGE_ID, message.header.messageId.encode()),
            (Headers.CORRELATION_ID, metadata.correlationId.encode()),
            (Headers.TRACEPARENT, traceparent.encode()),
            *message.flow.headers,
            (Headers.DIGEST, event.digest),
            (Headers.PRIORITY, metadata.priority.encode()),
            *self._accepted(message.received),
        ]

    def _accepted(self, at: int) -> tuple[tuple[str, bytes], ...]:
        return (
            (Headers.ACCEPTED_AT, b"%d" % at),
            self._accepted_by,
            (Headers.ACCEPTED_SEQ, b"%d" % next(self._sequence)),
        )

    def _traced(
        self, acceptance: Acceptance, flow: FlowIntake, partition: int, traceparent: str, size: int
    ) -> tuple[str, Settled]:
        """The ``traceparent`` for the event, and what is called at its acknowledgement; a span only if sampled: where
        it fails, the accepting span says so. ``size``: bytes of the event."""
        if not is_sampled(traceparent):
            return traceparent, acceptance.settle
        topic = flow.topics.events
        attributes: dict[str, str | int] = {
            of.STEP: "append",
            of.FLOW: flow.name,
            of.MESSAGE_ID: acceptance.message_id,
            of.CORRELATION_ID: acceptance.correlation_id,
            of.SYSTEM: "kafka",
            of.OPERATION: "append",
            of.OPERATION_TYPE: "send",
            of.DESTINATION: topic,
            of.PARTITION: str(partition),
            of.BODY_SIZE: size,
        }
        traced = self._tracing.begin(f"append {topic}", traceparent, SpanKind.PRODUCER, attributes)

        def settled(error: LinkspanError | None, spooled: bool) -> None:
            if error:
                Tracing.fail(traced, error)
            traced.span.end()
            acceptance.settle(error, spooled)

        return traced.traceparent, settled


def _measure(measured: Measured, taken: tuple[Acceptance, bool]) -> tuple[Acceptance, bool]:
    """Its append ends later."""
    acceptance = taken[0]
    measured.stage("encode")

    def settled() -> None:
        measured.stage("append")
        measured.end("message")

    acceptance.when_settled(settled)
    return taken


def _media_type(payload: Any) -> str | None:
    """Of large content: where a payload has metadata of its own, it may be said there."""
    about = getattr(payload, "metadata", None)
    value = about.get("mediaType") if isinstance(about, dict) else getattr(about, "mediaType", None)
    return None if value is None or value is UNSET else str(value)
