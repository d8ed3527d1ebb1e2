"""What a flow's deliveries tell: metrics, spans, logs. Cheap where nobody looks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import structlog

from linkspan.egress.partition.answer import Withheld
from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.lanes import Message
from linkspan.egress.prepare import Prepared
from linkspan.egress.spans import FlowSpans
from linkspan.kernel.errors import DeliveryError, FailureClass
from linkspan.kernel.records.event import Event
from linkspan.kernel.records.fact import ATTEMPT_FAILED, DEAD, FINISHING, OPENED, REDRIVEN
from linkspan.kernel.telemetry import metrics
from linkspan.kernel.telemetry.logs import debugging, trace_id
from linkspan.kernel.telemetry.traces import Traced, Tracing, as_sampled, valid

log = structlog.get_logger()
_OF_PARTITIONS = (
    metrics.HELD_KEYS,
    metrics.LAG,
    metrics.DUPLICATE_WINDOW_SECONDS,
    metrics.OLDEST_UNFINISHED_SECONDS,
    metrics.MISFIT,
)
DELIVERED, WITHHELD = "delivered", "withheld"
_KINDS = (ATTEMPT_FAILED, *sorted(FINISHING), REDRIVEN, OPENED)


class Instruments:
    """Of one flow; metric children are looked up once."""

    def __init__(self, flow: str, destination: str, spans: FlowSpans) -> None:
        self.flow, self.destination, self.spans = flow, destination, spans
        where = flow, destination
        self._outcomes = {kind: metrics.OUTCOMES.labels(*where, kind) for kind in _KINDS}
        results = (DELIVERED, WITHHELD, *(failure.value for failure in FailureClass))
        self._attempts = {result: metrics.ATTEMPTS.labels(*where, result) for result in results}
        self._dead = {failure.value: metrics.DEAD_LETTERS.labels(flow, failure.value) for failure in FailureClass}
        self._end_to_end = metrics.END_TO_END_SECONDS.labels(*where)
        self._round_trip = metrics.DESTINATION_SECONDS.labels(*where)
        self.record_seconds = metrics.STAGE_SECONDS.labels(flow, "record").note
        self._wait = metrics.STAGE_SECONDS.labels(flow, "wait")
        self.in_flight = metrics.IN_FLIGHT.labels(*where)
        self._told_waiting = self._told_batch = 0.0
        self._recorded = 0

    def deliver_span(self, _partition: int, message: Message, prepared: Prepared, to: str | None = None) -> Traced:
        """Ended by ``attempted``; its ``traceparent`` goes to the destination."""
        return self.spans.deliver(message, prepared.traceparent, to or self.destination)

    def attempted(
        self, message: Message, traced: Traced, error: DeliveryError | None, partition: int, sent_at: int
    ) -> None:
        """After a failure the message is sampled, so that its later attempts, and what follows from them, are seen.
        ``sent_at``: microseconds since 1970."""
        result = DELIVERED if error is None else WITHHELD if isinstance(error, Withheld) else error.failure.value
        self._attempts[result].inc()
        took = max(0.0, (time.time_ns() // 1000 - sent_at) / 1e6)
        if result != WITHHELD:
            self._round_trip.note(took)
            self._round_trip.example(took, traced.traceparent)
            if message.tries == 1 and not message.released and message.replay is None:
                self._wait.note(max(0.0, (sent_at - message.record.accepted_at) / 1e6))
        if error is not None:
            if isinstance(error, Withheld):
                traced.refused(error)
            else:
                Tracing.fail(traced, error)
                if traced.exported:
                    message.prepared.traceparent = as_sampled(message.prepared.traceparent)
        traced.span.end()
        if debugging() or (error is not None and result != WITHHELD):
            self._tell_attempt(message, traced, error, partition, result, took)

    def _tell_attempt(
        self,
        message: Message,
        traced: Traced,
        error: DeliveryError | None,
        partition: int,
        result: str,
        took: float,
    ) -> None:
        """A line an attempt: of failures at warning, of the others at debug."""
        event: Event = message.record
        tell = log.debug if error is None or result == WITHHELD else log.warning
        tell(
            "attempt" if error is None else "attempt failed",
            flow=self.flow,
            destination=self.destination,
            partition=partition,
            offset=message.offset,
            key=_key(event),
            messageId=event.message_id,
            correlationId=event.correlation_id,
            traceId=trace_id(traced.traceparent),
            attempt=message.tries,
            result=result,
            reason=error.reason if error else None,
            retryAfter=error.retry_after if error else None,
            redelivery=message.redelivery,
            seconds=round(took, 6),
        )

    def gone(self, count: int) -> None:
        """So many offsets, at most, held events that nobody got."""
        metrics.GONE.labels(self.flow).inc(count)

    def standing(self, partition: int, held_keys: int, window: int, oldest: int | None, behind: int) -> None:
        """Of one partition, with each checkpoint; ``window``: milliseconds, ``oldest``: microseconds since 1970 of the
        oldest unfinished event; ``behind``: events that are not fetched yet."""
        where = (self.flow, str(partition))
        metrics.HELD_KEYS.labels(*where).set(held_keys)
        metrics.LAG.labels(*where).set(behind)
        metrics.DUPLICATE_WINDOW_SECONDS.labels(*where).set(window / 1000)
        metrics.OLDEST_UNFINISHED_SECONDS.labels(*where).set(
            0 if oldest is None else max(0, time.time() - oldest / 1e6)
        )

    def misfit(self, partition: int, why: str) -> None:
        """Until it is taken over, or assigned to another replica."""
        metrics.MISFIT.labels(self.flow, str(partition)).set(1)
        log.error("partition not delivered", flow=self.flow, partition=partition, reason=why)

    def left(self, partition: int) -> None:
        """Another replica speaks of the partition from now on."""
        for metric in _OF_PARTITIONS:
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
            if effect.error is not None:
                self.spans.given_up(effect.kind, partition, effect.message, effect.error)
            log.warning(
                "dead letter" if effect.kind == "dead_lettered" else "expired",
                each=True,
                flow=self.flow,
                destination=self.destination,
                partition=partition,
                offset=effect.message.offset,
                key=_key(facts),
                messageId=facts.message_id,
                correlationId=facts.correlation_id,
                traceId=trace_id(valid(facts.traceparent)),
                attempts=effect.message.charged,
                failure=effect.error.failure.value if effect.error else None,
                reason=effect.error.reason if effect.error else None,
            )

    def recorded(self, effects: Sequence[Record], partition: int) -> None:
        """What one append acknowledged. One line a second at most, with what was recorded since the last."""
        at = time.time()
        for kind, count in Counter([effect.kind for effect in effects]).items():
            self._outcomes[kind].inc(count)
        for effect in effects:
            if effect.kind == DELIVERED and not effect.message.released:
                event: Event = effect.message.record
                took = max(0.0, at - event.accepted_at / 1e6)
                self._end_to_end.note(took)
                self._end_to_end.example(took, event.traceparent)
            elif effect.kind == DEAD and effect.error is not None:
                self._dead[effect.error.failure.value].inc()
        self._recorded += len(effects)
        now = time.monotonic()
        if now - self._told_batch >= 1:
            log.info("outcomes recorded", flow=self.flow, count=self._recorded, lastPartition=partition)
            self._told_batch, self._recorded = now, 0


def _key(event: Event) -> str | None:
    return event.key.decode("utf-8", "replace") if event.key else None
