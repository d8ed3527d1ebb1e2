"""The items of a page, on their way to Kafka.

One that is no message cannot be refused: it is appended as it came, with the reason, and the owner of its partition
makes it a dead letter.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog
from opentelemetry.trace import SpanKind

from linkspan.ingress.accept.changes import Change, Changes
from linkspan.ingress.accept.feed import Page
from linkspan.ingress.accept.spans import source_span
from linkspan.ingress.append.acceptance import Acceptance
from linkspan.ingress.errors import Conflict, Malformed, NotNow, TooLarge
from linkspan.ingress.flows import FlowIntake
from linkspan.ingress.pipeline import Pipeline, Unfit
from linkspan.ingress.validate import Origin
from linkspan.kernel.errors import InvalidMessage
from linkspan.kernel.spec import Poll
from linkspan.kernel.telemetry.metrics import POLLED
from linkspan.kernel.telemetry.traces import Tracing

log = structlog.get_logger()


class Items:
    """Of one source. ``flows``: those from it, by type of message; at least one."""

    def __init__(
        self, source: str, poll: Poll, pipeline: Pipeline, flows: Mapping[str, FlowIntake], tracing: Tracing
    ) -> None:
        self._name, self._pipeline, self._flows, self._tracing = source, pipeline, flows, tracing
        self._span, self._facts = source_span(source, "rest")
        self._changes = Changes(source, poll)
        self._origin = Origin(sender=source)
        self._count = {result: POLLED.labels(source, result) for result in ("taken", "unfit", "skipped")}
        self._unknown: set[str] = set()

    async def take(self, page: Page) -> None:
        """Returns when Kafka has every item. Raises NotNow; then some may have been appended, and come again."""
        acceptances = [taken for raw in page.items if (taken := await self._take_item(bytes(raw)))]
        for acceptance in acceptances:
            await acceptance.settled()

    async def _take_item(self, raw: bytes) -> Acceptance | None:
        """None where it was skipped."""
        change = self._changes.read(raw)
        if change.type is not None and change.type not in self._flows:
            self._skip(change.type, change.change)
            return None
        traced = self._tracing.begin(self._span, change.traceparent, SpanKind.CONSUMER, self._facts)
        try:
            taken = await self._accept(change, traced.traceparent)
        except NotNow as error:
            traced.belongs_to(change.correlation_id or change.message_id)
            Tracing.fail(traced, error)
            raise
        else:
            traced.belongs_to(taken.correlation_id)
            return taken
        finally:
            traced.span.end()

    async def _accept(self, change: Change, traceparent: str) -> Acceptance:
        if change.message is None:
            return await self._keep(change, f"the item has no {'payload' if change.type else 'type'}", traceparent)
        try:
            taken, known = await self._pipeline.take(change.message, self._origin, traceparent)
        except (InvalidMessage, Malformed, TooLarge, Conflict) as error:
            return await self._keep(change, str(error), traceparent)
        self._count["taken"].inc(not known)
        return taken

    async def _keep(self, change: Change, reason: str, traceparent: str) -> Acceptance:
        flow = self._flows[change.type] if change.type else next(iter(self._flows.values()))
        self._count["unfit"].inc()
        log.warning(
            "a change is no message: it becomes a dead letter",
            source=self._name,
            change=change.change,
            flow=flow.name,
            messageId=change.message_id,
            correlationId=change.correlation_id,
            reason=reason[:500],
        )
        return await self._pipeline.keep(
            Unfit(
                flow,
                change.raw,
                change.message_id,
                change.correlation_id,
                flow.lane(change.key(flow.spec.key)),
                reason,
                traceparent,
            )
        )

    def _skip(self, type_name: str, change: str | None) -> None:
        self._count["skipped"].inc()
        if type_name not in self._unknown and len(self._unknown) < 1000:
            self._unknown.add(type_name)
            known = ", ".join(self._flows)
            log.warning(
                "changes of this type are skipped", source=self._name, type=type_name[:80], change=change, known=known
            )
