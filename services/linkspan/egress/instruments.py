"""What a flow's deliveries tell: metrics, spans, logs. Cheap where nobody looks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import structlog
from opentelemetry.trace import SpanKind

from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.lanes import Message
from linkspan.egress.prepare import Prepared
from linkspan.kernel.errors import DeliveryError, FailureClass
from linkspan.kernel.records.event import Event
from linkspan.kernel.records.fact import ATTEMPT_FAILED, FINISHING, OPENED, REDRIVEN
from linkspan.kernel.telemetry import metrics, traces
from linkspan.kernel.telemetry.logs import debugging, trace_id
from linkspan.kernel.telemetry.traces import Traced, Tracing

log = structlog.get_logger()
_KINDS = (ATTEMPT_FAILED, *sorted(FINISHING), REDRIVEN, OPENED)


class Instruments:
    """Of one flow; metric children are looked up once."""

    def __init__(self, flow: str, destination: str, tracing: Tracing) -> None:
        self.flow, self.destination, self._tracing = flow, destination, tracing
        self._outcomes = {kind: metrics.OUTCOMES.labels(flow, kind) for kind in _KINDS}
        results = ("delivered", *(failure.value for failure in FailureClass))
        self._attempts = {result: metrics.ATTEMPTS.labels(flow, result) for result in results}
        self._end_to_end = metrics.END_TO_END_SECONDS.labels(flow)
        self.in_flight = metrics.IN_FLIGHT.labels(flow)
        self._told_waiting = self._told_batch = 0.0
        self._recorded = 0

    def deliver_span(self, partition: int, message: Message, prepared: Prepared) -> Traced:
        """Ended by ``attempted``; its ``traceparent`` goes to the destination."""
        parent = prepared.traceparent
        if parent[-1] not in "13579bdf":
            return self._tracing.begin("deliver", parent, SpanKind.PRODUCER)
        facts: dict[str, str | int] = {
            traces.FLOW: self.flow,
            traces.DESTINATION: self.destination,
            traces.MESSAGE_ID: prepared.header["messageId"],
            traces.CORRELATION_ID: prepared.metadata["correlationId"],
            traces.PARTITION: str(partition),
            traces.OFFSET: message.offset,
            traces.ATTEMPT: message.tries,
        }
        return self._tracing.begin("deliver", parent, SpanKind.PRODUCER, facts)

    def attempted(self, message: Message, traced: Traced, error: DeliveryError | None) -> None:
        self._attempts["delivered" if error is None else error.failure.value].inc()
        if error is not None:
            self._tracing.fail(traced, error)
        traced.span.end()
        if debugging():
            log.debug(
                "attempt",
                flow=self.flow,
                offset=message.offset,
                attempt=message.tries,
                traceId=trace_id(traced.traceparent),
                result="delivered" if error is None else error.failure.value,
                reason=error.reason if error else None,
            )

    def gone(self, count: int) -> None:
        """So many offsets, at most, held events that nobody got."""
        metrics.GONE.labels(self.flow).inc(count)

    def standing(self, partition: int, held_keys: int, window: int, oldest: int | None) -> None:
        """Of one partition, with each checkpoint; ``window``: milliseconds, ``oldest``: microseconds since 1970 of the
        oldest unfinished event."""
        where = (self.flow, str(partition))
        metrics.HELD_KEYS.labels(*where).set(held_keys)
        metrics.DUPLICATE_WINDOW_SECONDS.labels(*where).set(window / 1000)
        metrics.OLDEST_UNFINISHED_SECONDS.labels(*where).set(
            0 if oldest is None else max(0, time.time() - oldest / 1e6)
        )

    def left(self, partition: int) -> None:
        """Another replica speaks of the partition from now on."""
        for metric in (metrics.HELD_KEYS, metrics.DUPLICATE_WINDOW_SECONDS, metrics.OLDEST_UNFINISHED_SECONDS):
            with suppress(KeyError):
                metric.remove(self.flow, str(partition))

    def waiting(self, reason: str) -> None:
        """At most once in 5 s: a destination that is away concerns every message."""
        now = time.monotonic()
        if now - self._told_waiting >= 5:
            self._told_waiting = now
            log.warning("delivery waits", flow=self.flow, destination=self.destination, reason=reason)

    def decided(self, effect: Record, partition: int) -> None:
        """A dead letter is told with everything that finds it again."""
        facts: Event | None = effect.message.record
        if effect.kind in ("dead_lettered", "expired") and facts is not None:
            log.warning(
                "dead letter" if effect.kind == "dead_lettered" else "expired",
                flow=self.flow,
                destination=self.destination,
                partition=partition,
                offset=effect.message.offset,
                key=facts.key.decode("utf-8", "replace") if facts.key else None,
                messageId=facts.message_id,
                correlationId=facts.correlation_id,
                traceId=trace_id(traces.valid(facts.traceparent)),
                attempts=effect.message.charged,
                failure=effect.error.failure.value if effect.error else None,
                reason=effect.error.reason if effect.error else None,
            )

    def recorded(self, effects: Sequence[Record], partition: int) -> None:
        """What one append acknowledged. One line a second at most, with what was recorded since the last."""
        at = time.time()
        for kind, count in Counter([effect.kind for effect in effects]).items():
            self._outcomes[kind].inc(count)
        self._end_to_end.observe_all(
            [
                max(0.0, at - effect.message.record.accepted_at / 1e6)
                for effect in effects
                if effect.kind == "delivered" and not effect.message.released
            ]
        )
        self._recorded += len(effects)
        now = time.monotonic()
        if now - self._told_batch >= 1:
            log.info("outcomes recorded", flow=self.flow, count=self._recorded, lastPartition=partition)
            self._told_batch, self._recorded = now, 0
