"""Traces: W3C ``traceparent`` strings travel everywhere, OpenTelemetry spans are made only where they are sampled.

The context always travels, also without an exporter. Spans are exported by OTLP over HTTP when
``OTEL_EXPORTER_OTLP_ENDPOINT`` is set and ``OTEL_SDK_DISABLED`` is not; ``OTEL_TRACES_SAMPLER_ARG`` is the share of new
traces that is sampled (default 0.1). A caller's decision (the flag in its ``traceparent``) is kept, but a span that
fails is exported all the same (``unsampled.py``), and so is what ``always=True`` asks for.
"""

from __future__ import annotations

import os
import random
import re
import socket
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from linkspan import __version__
from linkspan.kernel.errors import DeliveryError, UserMistake
from linkspan.kernel.secret import redacted
from linkspan.kernel.telemetry.attributes import (
    ATTEMPT,
    CORRELATION_ID,
    DESTINATION,
    ERROR,
    FLOW,
    LINK,
    MESSAGE_ID,
    OFFSET,
    PARTITION,
    REPLAY,
    STATUS,
)
from linkspan.kernel.telemetry.unsampled import Facts, LazyFacts, Unsampled

__all__ = [
    "ATTEMPT",
    "CORRELATION_ID",
    "DESTINATION",
    "FLOW",
    "MESSAGE_ID",
    "OFFSET",
    "PARTITION",
    "REPLAY",
    "UNTRACED",
    "Linked",
    "Traced",
    "Tracing",
    "as_sampled",
    "error_type",
    "is_sampled",
    "valid",
]

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
#: In an id of 128 bits and one of 64, of which neither may be zero.
_NOT_ZERO = 1 << 64 | 1
_ODD = frozenset("13579bdf")
#: Characters of a reason in an event.
_REASON = 1_000
_NOT_RECORDED = NonRecordingSpan(trace.INVALID_SPAN_CONTEXT)


class Linked(msgspec.Struct, frozen=True):
    """A span of another trace, or of another message. ``what`` it is to ours goes onto the link (``linkspan.link``),
    with ``facts``; one whose ``traceparent`` is None or malformed is left out."""

    traceparent: str | None
    what: str
    facts: Facts = {}


class Traced(msgspec.Struct, frozen=True):
    """A span under way. ``traceparent`` goes to whatever comes next; ``span`` records nothing when not sampled."""

    traceparent: str
    span: Span

    def told(self, name: str, value: AttributeValue) -> None:
        """An attribute that was not known when the span began."""
        if self.span is not _NOT_RECORDED:
            self.span.set_attribute(name, value)

    def belongs_to(self, correlation_id: str) -> None:
        """For a span that began before the message was read."""
        self.told(CORRELATION_ID, correlation_id)

    def answered(self, status: int) -> None:
        """The HTTP status that was sent or came; whether it is an error is for ``Tracing.fail``."""
        self.told(STATUS, status)

    def refused(self, error: Exception) -> None:
        """The other side's mistake: an event of the span, and no error of ours."""
        if self.span is not _NOT_RECORDED:
            self.span.add_event("refused", {ERROR: error_type(error), "reason": str(error)[:_REASON]})

    def links_to(self, traceparent: str, what: str) -> None:
        """A span that began later, and is ``what`` to this one."""
        if self.span is not _NOT_RECORDED:
            self.span.add_link(_context(traceparent), {LINK: what})

    def seen(self) -> str | None:
        """Records it after all, for something that links to it: its own context. None where nobody collects spans."""
        return None if self.span is _NOT_RECORDED else _text(self.span.get_span_context())

    @property
    def exported(self) -> bool:
        """Somebody collects spans, and gets at least the failing ones."""
        return self.span is not _NOT_RECORDED


#: Where there is nothing to tell.
UNTRACED = Traced("", _NOT_RECORDED)


def valid(traceparent: str | None) -> str | None:
    """What a caller sent, if it is a well-formed ``traceparent`` of version 00; else None."""
    return traceparent if traceparent and _TRACEPARENT.match(traceparent) else None


def is_sampled(traceparent: str) -> bool:
    return traceparent[-1] in _ODD


def as_sampled(traceparent: str) -> str:
    """The same with the flag set: what follows is recorded."""
    return traceparent if is_sampled(traceparent) else f"{traceparent[:53]}{int(traceparent[53:], 16) | 1:02x}"


class Tracing:
    """Makes the spans of one service; ``sampled`` traces cost about 20 us a span, others less than one."""

    def __init__(self, provider: TracerProvider | None, ratio: float) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("linkspan", __version__) if provider else None
        self._ratio = ratio

    @classmethod
    def from_environment(cls, service: str) -> Tracing:
        """Raises UserMistake for a share that is none."""
        ratio = _ratio()
        disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        if disabled or not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            return cls(None, ratio)
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        from linkspan.kernel.telemetry.collector import session

        provider = provided(service)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(session=session())))
        return cls(provider, ratio)

    def new_trace(self, *, sampled: bool | None = None) -> str:
        """A ``traceparent`` without a span; None: by the share that is sampled."""
        if sampled is None:
            sampled = random.random() < self._ratio  # noqa: S311 - sampling keeps no secret
        ids = f"{random.getrandbits(192) | _NOT_ZERO:048x}"
        return f"00-{ids[:32]}-{ids[32:]}-{sampled:02x}"

    @contextmanager
    def span(
        self,
        name: str,
        traceparent: str | None,
        kind: SpanKind,
        attributes: LazyFacts | None = None,
        links: Sequence[str | Linked] = (),
        *,
        always: bool = False,
    ) -> Iterator[Traced]:
        """An error that leaves the block is recorded on the span and raised on."""
        traced = self.begin(name, traceparent, kind, attributes, links, always=always)
        try:
            yield traced
        except Exception as error:
            self.fail(traced, error)
            raise
        finally:
            traced.span.end()

    def begin(
        self,
        name: str,
        traceparent: str | None,
        kind: SpanKind,
        attributes: LazyFacts | None = None,
        links: Sequence[str | Linked] = (),
        *,
        always: bool = False,
    ) -> Traced:
        """For code with callbacks: the caller ends ``Traced.span`` itself; no ``traceparent`` starts a new trace.

        ``always``: recorded whatever the share and the caller's flag say, and so is what follows from it.
        """
        parent = traceparent
        traceparent = traceparent or self.new_trace(sampled=always or None)
        if always:
            traceparent = as_sampled(traceparent)
        if self._tracer is None:
            return Traced(traceparent, _NOT_RECORDED)
        if traceparent[-1] not in _ODD:
            return Traced(
                traceparent, Unsampled(lambda started: self._start(name, traceparent, kind, attributes, links, started))
            )
        span = self._start(name, parent, kind, attributes, links)
        return Traced(_text(span.get_span_context()), span)

    def _start(
        self,
        name: str,
        parent: str | None,
        kind: SpanKind,
        attributes: LazyFacts | None,
        links: Sequence[str | Linked],
        started: int | None = None,
    ) -> Span:
        assert self._tracer is not None  # noqa: S101 - begin has looked
        return self._tracer.start_span(
            name,
            context=Context() if parent is None else trace.set_span_in_context(NonRecordingSpan(_context(parent))),
            kind=kind,
            attributes=attributes() if callable(attributes) else attributes,
            links=[link for other in links if (link := _link(other)) is not None],
            start_time=started,
        )

    @staticmethod
    def fail(traced: Traced, error: BaseException) -> None:
        """The span is an error from now on, and exported, sampled or not."""
        span = traced.span
        if span is not _NOT_RECORDED:
            span.set_attribute(ERROR, error_type(error))
            stack = "".join(traceback.format_exception(error))
            said = {"exception.message": redacted(str(error)), "exception.stacktrace": redacted(stack)}
            span.record_exception(error, said)
            span.set_status(Status(StatusCode.ERROR, redacted(str(error))))

    def close(self) -> None:
        if self._provider:
            self._provider.shutdown()


def provided(service: str) -> TracerProvider:
    """Without a processor. Every span that is started is recorded: whether one is, is decided before."""
    about = {
        SERVICE_NAME: f"linkspan-{service}",
        SERVICE_VERSION: __version__,
        SERVICE_INSTANCE_ID: f"{socket.gethostname()}:{os.getpid()}",
    }
    return TracerProvider(sampler=ALWAYS_ON, resource=Resource.create(about))


def error_type(error: BaseException) -> str:
    """The failure class of a delivery, else the name of the exception."""
    return error.failure.value if isinstance(error, DeliveryError) else type(error).__name__


def _ratio() -> float:
    text = os.environ.get("OTEL_TRACES_SAMPLER_ARG") or "0.1"
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise UserMistake(f"OTEL_TRACES_SAMPLER_ARG is {text!r}: give the share of new traces, from 0 to 1")
    return ratio


def _link(other: str | Linked) -> Link | None:
    if isinstance(other, str):
        return Link(_context(other))
    traceparent = valid(other.traceparent)
    return None if traceparent is None else Link(_context(traceparent), {LINK: other.what, **other.facts})


def _text(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _context(traceparent: str) -> SpanContext:
    return SpanContext(
        trace_id=int(traceparent[3:35], 16),
        span_id=int(traceparent[36:52], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(traceparent[53:55], 16)),
    )
