"""From an event's bytes to an outgoing message: decode, transform, compose."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
from aiokafka.errors import KafkaError

from linkspan.egress.deliver.adapter import Delivery, always
from linkspan.egress.partition.answer import Unreadable, Withheld
from linkspan.egress.partition.lanes import Message
from linkspan.egress.spans import FlowSpans
from linkspan.kernel.codec import Decoder
from linkspan.kernel.crypto.sealed import Opener
from linkspan.kernel.crypto.vault import Vault
from linkspan.kernel.crypto.withheld import Secrets, unquoting
from linkspan.kernel.errors import Poison, Undecryptable
from linkspan.kernel.kafka.published import PublishedSchemas
from linkspan.kernel.records.event import Event
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.telemetry.metrics import STAGE_SECONDS
from linkspan.kernel.telemetry.traces import Traced, Tracing
from linkspan.transform.asked import Cause
from linkspan.transform.transform import Transform

_encode = msgspec.json.Encoder().encode


class Prepared(msgspec.Struct):
    """What every attempt of a message shares. ``expires_at``: seconds since 1970; ``values``: for a path; ``secrets``:
    what no reason may quote."""

    header: dict[str, Any]
    payload: dict[str, Any]
    metadata: dict[str, Any]
    values: dict[str, Any]
    ttl: int | None
    expires_at: float | None
    traceparent: str
    secrets: Secrets | None = None


class Preparation:
    """For the events of one flow. ``vault`` None: what has confidential values waits for a keyring. ``schemas`` None:
    of this version's schemas alone."""

    def __init__(
        self,
        integration: Integration,
        flow_name: str,
        catalog: SchemaCatalog,
        transform: Transform,
        tracing: Tracing,
        vault: Vault | None = None,
        schemas: PublishedSchemas | None = None,
    ) -> None:
        flow = integration.flows[flow_name]
        self._type = flow.delivers or flow.type
        self._decoder = Decoder.of_events(catalog, integration.integration, [flow.type])
        self._opener, self._schemas = Opener(self._decoder, vault), schemas
        self._transform, self._spans = transform, FlowSpans(integration, flow_name, tracing)
        self.at_once = transform.at_once
        self._seconds = STAGE_SECONDS.labels(flow_name, "prepare")

    def now(self, event: Event, partition: int | None = None) -> Prepared | None:
        """None where something must be waited for: then ``later``. Raises Poison, KeyAway."""
        if not self._transform.is_sync or self._foreign(event):
            return None
        consumed = self._spans.consume(event, partition)
        try:
            prepared = self._now(event, consumed.traceparent)
        except Exception as error:
            Tracing.fail(consumed, error)
            consumed.span.end()
            raise
        if prepared is not None:
            consumed.span.end()
        return prepared

    def _now(self, event: Event, consumed: str) -> Prepared | None:
        started = time.perf_counter()
        with _readable(event):
            opened = self._opener.now(event.value)
        if opened is None:
            return None
        message, secrets = opened
        if secrets is None:
            payload = self._transform.apply_now(message)
        else:
            try:
                payload = self._transform.apply_now(message)
            except Exception as error:  # noqa: BLE001 - what it says may quote a confidential value
                hidden = self._transform.fails_now(self._opener.hidden(event.value))
                raise unquoting(error, secrets, hidden) from None
        if payload is None:
            return None
        prepared = self._prepared(consumed, message, payload, secrets)
        self._seconds.note(time.perf_counter() - started)
        return prepared

    async def later(self, event: Event, partition: int | None = None) -> Prepared:
        """Raises Poison, KeyAway, and what a step raises."""
        started = time.perf_counter()
        consumed = self._spans.consume(event, partition)
        try:
            await self._learn(event)
            with _readable(event):
                message, secrets = await self._opener.later(event.value)
            with self._spans.transformed(event, consumed.traceparent) as traced:
                cause = Cause(self._spans.tracing, traced.traceparent, message["metadata"]["correlationId"])
                payload = await self._apply(event, message, secrets, cause)
            took = time.perf_counter() - started
            self._seconds.note(took)
            self._seconds.example(took, traced.traceparent)
            return self._prepared(consumed.traceparent, message, payload, secrets)
        except Exception as error:
            Tracing.fail(consumed, error)
            raise
        finally:
            consumed.span.end()

    def _foreign(self, event: Event) -> bool:
        """Another version of Linkspan may have taken it in."""
        asks = self._schemas is not None and event.refused is None
        return asks and self._decoder.unknown(event.value) is not None

    async def _learn(self, event: Event) -> None:
        """Raises Withheld: whether it can be read is not known now."""
        if self._schemas is None or not self._foreign(event):
            return
        try:
            await self._schemas.learn(self._decoder, event.value)
        except (KafkaError, OSError, TimeoutError) as error:
            raise Withheld(f"the schemas topic cannot be read: {error!r}") from error

    async def _apply(
        self, event: Event, message: dict[str, Any], secrets: Secrets | None, cause: Cause
    ) -> dict[str, Any]:
        if secrets is None:
            return await self._transform.apply(message, cause=cause)
        try:
            return await self._transform.apply(message, cause=cause)
        except Exception as error:  # noqa: BLE001 - what it says may quote a confidential value
            hidden = await self._transform.fails(self._opener.hidden(event.value), cause)
            raise unquoting(error, secrets, hidden) from None

    def _prepared(
        self, traceparent: str, message: dict[str, Any], payload: dict[str, Any], secrets: Secrets | None
    ) -> Prepared:
        header, metadata = message["header"], message["metadata"].copy()
        values = header | message["payload"]
        header["type"] = self._type
        ttl = metadata["ttl"]
        del metadata["defaulted"]
        if ttl is None:
            del metadata["ttl"]
        expires_at = None if ttl is None else datetime.fromisoformat(header["timestamp"]).timestamp() + ttl
        return Prepared(header, payload, metadata, values, ttl, expires_at, traceparent, secrets)

    @staticmethod
    def compose(
        message: Message,
        prepared: Prepared,
        traced: Traced,
        may_go: Callable[[], bool] = always,
        replay: str | None = None,
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
            traced.traceparent,
            message.tries,
            prepared.values,
            _encode(body),
            may_go,
            replay,
            traced,
            prepared.secrets,
        )


@contextmanager
def _readable(event: Event) -> Iterator[None]:
    """Around the decoding: raises Unreadable where it raises Poison, or no message came in."""
    if event.refused is not None:
        raise Unreadable(f"no message came in: {event.refused}")
    try:
        yield
    except Undecryptable:
        raise
    except Poison as error:
        raise Unreadable(error.reason) from error
