"""Traces: W3C ``traceparent`` strings travel everywhere, OpenTelemetry spans are made only where they are sampled.

The context always travels, also without an exporter. Spans are exported by OTLP over HTTP when
``OTEL_EXPORTER_OTLP_ENDPOINT`` is set; ``OTEL_TRACES_SAMPLER_ARG`` is the share of new traces that is sampled (default
0.1). A caller's decision (the flag in its ``traceparent``) is kept.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from linkspan import __version__

# Attribute names, declared once. The messaging names are OpenTelemetry's semantic conventions.
CORRELATION_ID = "linkspan.correlation_id"
FLOW = "linkspan.flow"
MESSAGE_ID = "messaging.message.id"
DESTINATION = "messaging.destination.name"
PARTITION = "messaging.destination.partition.id"
OFFSET = "messaging.kafka.offset"
ATTEMPT = "linkspan.attempt"

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
#: In an id of 128 bits and one of 64, of which neither may be zero.
_NOT_ZERO = 1 << 64 | 1
_NOT_RECORDED = NonRecordingSpan(trace.INVALID_SPAN_CONTEXT)


class Traced(msgspec.Struct, frozen=True):
    """A span under way. ``traceparent`` goes to whatever comes next; ``span`` records nothing when not sampled."""

    traceparent: str
    span: Span

    def belongs_to(self, correlation_id: str) -> None:
        """For a span that began before the message was read."""
        if self.span is not _NOT_RECORDED:
            self.span.set_attribute(CORRELATION_ID, correlation_id)


def valid(traceparent: str | None) -> str | None:
    """What a caller sent, if it is a well-formed ``traceparent`` of version 00; else None."""
    return traceparent if traceparent and _TRACEPARENT.match(traceparent) else None


class Tracing:
    """Makes the spans of one service; ``sampled`` traces cost about 20 us a span, others nothing."""

    def __init__(self, provider: TracerProvider | None, ratio: float) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("linkspan", __version__) if provider else None
        self._ratio = ratio

    @classmethod
    def from_environment(cls, service: str) -> Tracing:
        ratio = float(os.environ.get("OTEL_TRACES_SAMPLER_ARG") or 0.1)
        if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            return cls(None, ratio)
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider = TracerProvider(
            resource=Resource.create({SERVICE_NAME: f"linkspan-{service}", SERVICE_VERSION: __version__})
        )
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider, ratio)

    def _new_trace(self) -> str:
        flag = "01" if random.random() < self._ratio else "00"  # noqa: S311 - sampling keeps no secret
        ids = f"{random.getrandbits(192) | _NOT_ZERO:048x}"
        return f"00-{ids[:32]}-{ids[32:]}-{flag}"

    @contextmanager
    def span(
        self, name: str, traceparent: str | None, kind: SpanKind, attributes: Mapping[str, str | int] | None = None
    ) -> Iterator[Traced]:
        """An error that leaves the block is recorded on the span and raised on."""
        traced = self.begin(name, traceparent, kind, attributes)
        try:
            yield traced
        except BaseException as error:
            self.fail(traced, error)
            raise
        finally:
            traced.span.end()

    def begin(
        self,
        name: str,
        traceparent: str | None,
        kind: SpanKind,
        attributes: Mapping[str, str | int] | None = None,
        links: tuple[str, ...] = (),
    ) -> Traced:
        """For code with callbacks: the caller ends ``Traced.span`` itself; no ``traceparent`` starts a new trace."""
        root = traceparent is None
        traceparent = traceparent or self._new_trace()
        if self._tracer is None or traceparent[-1] not in "13579bdf":
            return Traced(traceparent, _NOT_RECORDED)
        span = self._tracer.start_span(
            name,
            context=Context() if root else trace.set_span_in_context(NonRecordingSpan(_context(traceparent))),
            kind=kind,
            attributes=attributes,
            links=[Link(_context(other)) for other in links],
        )
        context = span.get_span_context()
        return Traced(f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}", span)

    @staticmethod
    def fail(traced: Traced, error: BaseException) -> None:
        traced.span.record_exception(error)
        traced.span.set_status(Status(StatusCode.ERROR, str(error)))

    def close(self) -> None:
        if self._provider:
            self._provider.shutdown()


def _context(traceparent: str) -> SpanContext:
    return SpanContext(
        trace_id=int(traceparent[3:35], 16),
        span_id=int(traceparent[36:52], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(traceparent[53:55], 16)),
    )
