"""The span of a request that carries many messages: a trace of its own, linked to each message's attempt and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.trace import SpanKind

from linkspan.egress.deliver.adapter import Delivery
from linkspan.egress.partition.answer import Withheld
from linkspan.kernel.errors import DeliveryError
from linkspan.kernel.spec import Deliver, System
from linkspan.kernel.telemetry import attributes as of
from linkspan.kernel.telemetry.traces import Linked, Traced, Tracing, is_sampled

#: Messages that a span links to, at most: OpenTelemetry's own limit.
_MOST = 128


class BatchSpans:
    """Of the batches for ``destination``. A batch is sampled if one of its messages is."""

    def __init__(self, destination: str, system: System, deliver: Deliver, tracing: Tracing) -> None:
        self._tracing = tracing
        path = ((deliver.batch and deliver.batch.path) or deliver.path).partition("?")[0]
        self._name = f"{deliver.method} {path}"
        self._facts: dict[str, Any] = {
            of.STEP: "deliver",
            of.METHOD: deliver.method,
            of.PATH_TEMPLATE: path,
            of.DESTINATION: destination,
            **of.server_facts(system.url),
        }

    def begin(self, deliveries: Sequence[Delivery]) -> Traced:
        recorded = [one for one in deliveries if is_sampled(one.traceparent)]
        traced = self._tracing.begin(
            self._name,
            None if recorded else self._tracing.new_trace(sampled=False),
            SpanKind.CLIENT,
            lambda: self._about(deliveries),
            [Linked(one.traceparent, "message", _about_one(one)) for one in recorded[:_MOST]],
            always=bool(recorded),
        )
        for one in recorded:
            one.traced.links_to(traced.traceparent, "batch")
        return traced

    def _about(self, deliveries: Sequence[Delivery]) -> dict[str, Any]:
        told = list(dict.fromkeys(one.correlation_id or "" for one in deliveries))[:_MOST]
        return self._facts | {
            of.BATCH_COUNT: len(deliveries),
            of.CORRELATION_ID: told[0] if len(told) == 1 else told,
            of.ATTEMPT: max(one.attempt for one in deliveries),
        }

    @staticmethod
    def end(traced: Traced, error: DeliveryError | None) -> None:
        if isinstance(error, Withheld):
            traced.refused(error)
        elif error is not None:
            Tracing.fail(traced, error)
        traced.span.end()


def _about_one(delivery: Delivery) -> dict[str, Any]:
    return {
        of.MESSAGE_ID: delivery.message_id,
        of.CORRELATION_ID: delivery.correlation_id or "",
        of.ATTEMPT: delivery.attempt,
    }
