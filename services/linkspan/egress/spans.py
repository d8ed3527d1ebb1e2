"""The spans of a flow's messages in egress: consume, transform, deliver, and the end of one that is given up.

The attempts of a message are children of one ``consume``, each with its number. A dead letter that is redriven, and a
replay, begin a trace of their own, always sampled, that links to the one in which the message came.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial

from opentelemetry.trace import SpanKind

from linkspan.egress.partition.lanes import Message
from linkspan.kernel.errors import DeliveryError
from linkspan.kernel.records.event import Event
from linkspan.kernel.spec import Deliver, Integration, System
from linkspan.kernel.telemetry import attributes as of
from linkspan.kernel.telemetry.traces import Linked, Traced, Tracing, valid
from linkspan.kernel.topics import FlowTopics, egress_group

_Told = dict[str, str | int | bool]


class FlowSpans:
    """Of one flow."""

    def __init__(self, integration: Integration, flow_name: str, tracing: Tracing) -> None:
        flow = integration.flows[flow_name]
        topics = FlowTopics.of(integration.integration, flow_name)
        self.tracing = tracing
        self._flow, self._transform = flow_name, f"transform {flow_name}"
        self._transformed: _Told = {of.STEP: "transform", of.FLOW: flow_name}
        self._consume, self._end = f"consume {topics.events}", topics.events
        self._consumed = _kafka(topics.events, "consume", "process") | {
            of.GROUP: egress_group(integration.integration, flow_name),
            of.FLOW: flow_name,
        }
        self._ways = {to: delivery_span(to, system, flow.deliver) for to, system in integration.systems.items()}

    def consume(self, event: Event, partition: int | None) -> Traced:
        """The caller ends it, or leaves it where the message is taken up again later."""
        facts = partial(_of_record, event, partition, self._consumed)
        if not event.letter:
            return self.tracing.begin(self._consume, valid(event.traceparent), SpanKind.CONSUMER, facts)
        original = (Linked(event.traceparent, "original", {of.MESSAGE_ID: event.message_id or ""}),)
        return self.tracing.begin(self._consume, None, SpanKind.CONSUMER, facts, original, always=True)

    def transformed(self, event: Event, parent: str) -> AbstractContextManager[Traced]:
        facts = partial(_of_event, event, self._transformed)
        return self.tracing.span(self._transform, parent, SpanKind.INTERNAL, facts)

    def deliver(self, message: Message, traceparent: str, to: str) -> Traced:
        """Of one attempt at the system ``to``, below what consumed the message; the caller ends it."""
        name, kind, delivered = self._ways[to]
        return self.tracing.begin(name, traceparent, kind, partial(self._of_attempt, message, delivered))

    def replayed(self, event: Event, plan: str, started_by: str | None) -> str:
        """The ``traceparent`` of a new trace for the replay ``plan`` of an event: what is done for it goes below that.
        ``started_by``: the ``traceparent`` of the span of the call that started the replay."""
        links = (
            Linked(event.traceparent, "original", {of.MESSAGE_ID: event.message_id or ""}),
            Linked(started_by, "replay", {of.REPLAY: plan}),
        )
        facts = _of_record(event, None, _kafka(self._end, "replay", "process")) | {of.FLOW: self._flow, of.REPLAY: plan}
        traced = self.tracing.begin(f"replay {self._end}", None, SpanKind.CONSUMER, facts, links, always=True)
        traced.span.end()
        return traced.traceparent

    def given_up(self, kind: str, partition: int, message: Message, error: DeliveryError) -> None:
        """Always seen: a point in the trace in which the message came."""
        event: Event = message.record
        facts = _of_record(event, partition, _kafka(self._end, kind, "settle") | {of.FLOW: self._flow})
        traced = self.tracing.begin(
            f"{kind} {self._end}",
            valid(event.traceparent),
            SpanKind.CONSUMER,
            facts | {of.STEP: "record", of.OUTCOME: kind, of.ATTEMPT: message.tries},
        )
        Tracing.fail(traced, error)
        traced.span.end()

    def _of_attempt(self, message: Message, delivered: _Told) -> _Told:
        facts = _of_event(message.record, delivered) | {of.FLOW: self._flow, of.ATTEMPT: message.tries}
        if message.tries > 1 and of.METHOD in facts:
            facts[of.RESEND] = message.tries - 1
        return facts


def _of_record(event: Event, partition: int | None, more: _Told) -> _Told:
    facts = _of_event(event, more) | {of.OFFSET: event.offset}
    if partition is not None:
        facts[of.PARTITION] = str(partition)
    return facts


def _of_event(event: Event, more: _Told) -> _Told:
    facts = more | {of.CORRELATION_ID: event.correlation_id or "", of.MESSAGE_ID: event.message_id or ""}
    if event.letter:
        facts[of.REDRIVE] = True
    return facts


def delivery_span(name: str, system: System, deliver: Deliver) -> tuple[str, SpanKind, _Told]:
    """Name, kind and what is the same of every attempt: an HTTP request, or a message to a queue or a batch."""
    facts: _Told = {of.STEP: "deliver", **of.server_facts(system.url)}
    if system.kind == "rest" and deliver.batch is None:
        path = deliver.path.partition("?")[0]
        return f"{deliver.method} {path}", SpanKind.CLIENT, facts | {of.METHOD: deliver.method, of.PATH_TEMPLATE: path}
    operation = "create" if deliver.batch else "send"
    sent: _Told = {of.SYSTEM: system.kind, of.DESTINATION: name, of.OPERATION: "deliver", of.OPERATION_TYPE: operation}
    return f"deliver {name}", SpanKind.PRODUCER, facts | sent


def _kafka(topic: str, verb: str, operation: str) -> _Told:
    return {
        of.STEP: verb,
        of.SYSTEM: "kafka",
        of.DESTINATION: topic,
        of.OPERATION: verb,
        of.OPERATION_TYPE: operation,
    }
