"""From an event's bytes to an outgoing message: decode, transform, compose."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import msgspec
from opentelemetry.trace import SpanKind

from linkspan.egress.deliver.adapter import Delivery, always
from linkspan.egress.partition.lanes import Message
from linkspan.kernel.codec import Decoder
from linkspan.kernel.errors import Poison
from linkspan.kernel.records.event import Event
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.telemetry import traces
from linkspan.kernel.telemetry.traces import Traced, Tracing
from linkspan.transform.asked import Cause
from linkspan.transform.transform import Transform

_encode = msgspec.json.Encoder().encode


class Prepared(msgspec.Struct):
    """What every attempt of a message shares. ``expires_at``: seconds since 1970; ``values``: for a path."""

    header: dict[str, Any]
    payload: dict[str, Any]
    metadata: dict[str, Any]
    values: dict[str, Any]
    ttl: int | None
    expires_at: float | None
    traceparent: str


class Preparation:
    """For the events of one flow."""

    def __init__(
        self, integration: Integration, flow_name: str, catalog: SchemaCatalog, transform: Transform, tracing: Tracing
    ) -> None:
        flow = integration.flows[flow_name]
        self._type = flow.delivers or flow.type
        self._decoder = Decoder.of_events(catalog, integration.integration, [flow.type])
        self._transform, self._tracing = transform, tracing
        self.at_once = transform.at_once

    def now(self, event: Event) -> Prepared | None:
        """None where the transform has to wait for something: then ``later``. Raises Poison."""
        if not self._transform.is_sync:
            return None
        parent = traces.valid(event.traceparent)
        if parent is not None and parent[-1] not in "13579bdf":
            return self._now(event, parent)
        with (
            self._consumed(event, parent) as consumed,
            self._tracing.span("transform", consumed.traceparent, SpanKind.INTERNAL, _facts(event)),
        ):
            return self._now(event, consumed.traceparent)

    def _now(self, event: Event, consumed: str) -> Prepared | None:
        message = self._decode(event)
        payload = self._transform.apply_now(message)
        return None if payload is None else self._prepared(consumed, message, payload)

    async def later(self, event: Event) -> Prepared:
        """Raises Poison, and what a step raises."""
        with self._consumed(event, traces.valid(event.traceparent)) as consumed:
            message = self._decode(event)
            with self._tracing.span("transform", consumed.traceparent, SpanKind.INTERNAL, _facts(event)) as traced:
                payload = await self._transform.apply(message, cause=Cause(self._tracing, traced.traceparent))
            return self._prepared(consumed.traceparent, message, payload)

    def _consumed(self, event: Event, parent: str | None) -> AbstractContextManager[Traced]:
        return self._tracing.span("consume", parent, SpanKind.CONSUMER, _facts(event))

    def _decode(self, event: Event) -> dict[str, Any]:
        """The message in its JSON form."""
        if event.refused is not None:
            raise Poison(f"no message came in: {event.refused}")
        return self._decoder.json(event.value)

    def _prepared(self, traceparent: str, message: dict[str, Any], payload: dict[str, Any]) -> Prepared:
        header, metadata = message["header"], message["metadata"].copy()
        values = header | message["payload"]
        header["type"] = self._type
        ttl = metadata["ttl"]
        del metadata["defaulted"]
        if ttl is None:
            del metadata["ttl"]
        expires_at = None if ttl is None else datetime.fromisoformat(header["timestamp"]).timestamp() + ttl
        return Prepared(header, payload, metadata, values, ttl, expires_at, traceparent)

    @staticmethod
    def compose(
        message: Message, prepared: Prepared, traceparent: str, may_go: Callable[[], bool] = always
    ) -> Delivery:
        """The attempt ``message.tries``; the outgoing ``retryCount`` is the attempts charged before it."""
        header = prepared.header
        body = {
            "header": header,
            "payload": prepared.payload,
            "metadata": prepared.metadata | {"retryCount": message.charged},
        }
        return Delivery(
            header["messageId"],
            prepared.metadata["correlationId"],
            message.key.decode("utf-8", "replace") if message.key else None,
            message.offset,
            message.redelivery,
            traceparent,
            message.tries,
            prepared.values,
            _encode(body),
            may_go,
        )


def _facts(event: Event) -> dict[str, str | int]:
    return {
        traces.OFFSET: event.offset,
        traces.MESSAGE_ID: event.message_id or "",
        traces.CORRELATION_ID: event.correlation_id or "",
    }
