"""Tells the sending system of a flow about its dead letters: a group of its own that follows the flow's outcomes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError
from opentelemetry.trace import SpanKind

from linkspan.control.gate import Gate
from linkspan.egress.deliver.adapter import Adapter, Delivery
from linkspan.egress.refuse.notice import refusal
from linkspan.kernel.codec import Decoder, OutcomeCodec
from linkspan.kernel.errors import DeliveryError, FailureClass, Poison
from linkspan.kernel.json_form import JsonForm
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.kafka.published import PublishedSchemas
from linkspan.kernel.message import Json
from linkspan.kernel.records.epoch import Epoch
from linkspan.kernel.records.event import Event
from linkspan.kernel.records.outcome import fact_of
from linkspan.kernel.resilience.limits import Limits
from linkspan.kernel.resilience.retry import RetryPolicy
from linkspan.kernel.telemetry import attributes as of
from linkspan.kernel.telemetry.traces import Tracing, valid
from linkspan.kernel.topics import FlowTopics, Headers

log = structlog.get_logger()

_COMMIT_LIMIT = 5.0
_AGAIN = RetryPolicy(first=0.5, cap=5.0)


@dataclass(frozen=True, slots=True)
class RefusalContext:
    """``sender``: the system that is told, by ``adapter`` while ``gate`` is open; ``decoder`` and ``form`` read the
    flow's events; ``attempt``: name, kind and attributes of the span of one attempt."""

    flow: str
    group: str
    topics: FlowTopics
    key_field: str | None
    sender: str
    clients: KafkaClients
    adapter: Adapter
    decoder: Decoder
    form: JsonForm
    codec: OutcomeCodec
    retry: RetryPolicy
    limits: Limits
    tracing: Tracing
    gate: Gate
    attempt: tuple[str, SpanKind, dict[str, Any]]
    schemas: PublishedSchemas


class RefusalNotifier:
    """``run`` until cancelled. Each letter is told until it is accepted or refused for good, then committed."""

    def __init__(self, context: RefusalContext) -> None:
        self._context = context
        self._epochs: dict[int, Epoch] = defaultdict(Epoch)

    async def run(self) -> None:
        context, failures = self._context, 0
        while True:
            consumer = context.clients.group(context.group, auto_offset_reset="earliest")
            consumer.subscribe([context.topics.outcomes])
            try:
                await consumer.start()
                failures = 0
                await self._follow(consumer)
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("refusals wait for Kafka", flow=context.flow, error=repr(error))
            finally:
                await stop_consumer(consumer)
            failures += 1
            await asyncio.sleep(_AGAIN.delay(failures))

    async def _follow(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            found = await consumer.getmany(timeout_ms=1000)
            for records in found.values():
                for record in records:
                    await self._tell(record)
            if found:
                offsets = {tp: records[-1].offset + 1 for tp, records in found.items()}
                async with asyncio.timeout(_COMMIT_LIMIT):
                    await consumer.commit(offsets)

    async def _tell(self, record: Any) -> None:
        said = fact_of(record)
        valid_now = self._epochs[record.partition].valid(said.kind, said.epoch)
        if said.kind != "dead_lettered" or said.plan or not valid_now:
            return
        if any(name == Headers.COPIED for name, _ in record.headers):
            return  # told, as of the flow that it was copied from
        context = self._context
        await context.schemas.learn(context.codec, record.value)
        try:
            outcome = context.codec.decode(record.value)
        except Poison as error:
            log.warning("an outcome cannot be read", flow=context.flow, offset=record.offset, reason=error.reason)
            return
        event = await self._event(TopicPartition(context.topics.events, record.partition), outcome["offset"])
        facts = {
            of.STEP: "refuse",
            of.FLOW: context.flow,
            of.CORRELATION_ID: outcome["correlationId"] or "",
            of.MESSAGE_ID: outcome["messageId"] or "",
        }
        parent = valid(event.traceparent if event else None)
        with context.tracing.span(f"refuse {context.flow}", parent, SpanKind.INTERNAL, facts, always=True) as traced:
            notice = refusal(outcome, self._original(event), context.key_field, context.sender, traced.traceparent)
            await self._send(notice, outcome, facts)

    async def _event(self, partition: TopicPartition, offset: int) -> Event | None:
        """None where it is gone. Raises KafkaError."""
        reader = self._context.clients.reader()
        try:
            await reader.start()
            reader.assign([partition])
            reader.seek(partition, offset)
            found = await reader.getmany(partition, timeout_ms=5000, max_records=1)
            records = found.get(partition, [])
            if not records and await reader.position(partition) <= offset:
                raise KafkaTimeoutError(f"{partition.topic} {partition.partition} does not give {offset}")
        finally:
            await stop_consumer(reader)
        await self._context.schemas.learn(self._context.decoder, *(record.value for record in records))
        return Event.of(records[0]) if records and records[0].offset == offset else None

    def _original(self, event: Event | None) -> Json | None:
        """None where it is gone or cannot be read."""
        try:
            return self._context.form.json(self._context.decoder.decode(event.value)[1]) if event else None
        except Poison:
            return None

    async def _send(self, notice: Delivery, outcome: dict[str, Any], told: dict[str, str]) -> None:
        failures = 0
        while True:
            await self._context.gate.opens()
            error = await self._traced_attempt(msgspec.structs.replace(notice, attempt=failures + 1), told)
            facts = {"flow": self._context.flow, "messageId": outcome["messageId"], "system": self._context.sender}
            if error is None:
                log.info("refusal told", **facts)
                return
            if error.failure not in (FailureClass.UNAVAILABLE, FailureClass.TRANSIENT):
                log.error("refusal not accepted", **facts, reason=error.reason)
                return
            failures += 1
            log.log(30 if failures == 1 else 10, "refusal waits", **facts, reason=error.reason)
            await asyncio.sleep(self._context.retry.delay(failures, error.retry_after))

    async def _traced_attempt(self, notice: Delivery, told: dict[str, str]) -> DeliveryError | None:
        name, kind, facts = self._context.attempt
        facts = facts | told | {of.STEP: "deliver", of.ATTEMPT: notice.attempt}
        traced = self._context.tracing.begin(name, notice.traceparent, kind, facts)
        try:
            error = await self._attempt(msgspec.structs.replace(notice, traceparent=traced.traceparent, traced=traced))
            if error is not None:
                Tracing.fail(traced, error)
        finally:
            traced.span.end()
        return error

    async def _attempt(self, notice: Delivery) -> DeliveryError | None:
        answer: asyncio.Future[DeliveryError | None] = asyncio.get_running_loop().create_future()

        def answered(_delivery: Delivery, error: DeliveryError | None) -> None:
            if not answer.done():
                answer.set_result(error)

        async with self._context.limits.turn():
            self._context.adapter.submit(notice, answered)
            error = await answer
        self._context.limits.answered(error)
        return error
