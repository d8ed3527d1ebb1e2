"""The delayed decision: a span that nobody asked for is kept as a few references, and made real only if it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, Status, StatusCode
from opentelemetry.util.types import AttributeValue

Facts = Mapping[str, AttributeValue]
#: Attributes, or what makes them: called only where there is a span that takes them.
LazyFacts = Facts | Callable[[], Facts]
Make = Callable[[int], Span]


class Unsampled(NonRecordingSpan):
    """``make(started)`` starts the real span, ``started`` in nanoseconds since 1970; it is called at the first error.

    What was told before the error is told to the real span, too. Events are not: they are dropped until then.
    """

    def __init__(self, make: Make) -> None:  # the base class would want a context, which nobody asks for mostly
        self._make, self._started = make, time.time_ns()
        self._told: dict[str, AttributeValue] | None = None
        self._made: Span | None = None

    def get_span_context(self) -> SpanContext:
        return self._real().get_span_context()

    def is_recording(self) -> bool:
        return self._made is not None

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        if self._made is not None:
            self._made.set_attribute(key, value)
        elif self._told is None:
            self._told = {key: value}
        else:
            self._told[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Facts | None = None, timestamp: int | None = None) -> None:
        if self._made is not None:
            self._made.add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Facts | None = None) -> None:
        if self._made is not None:
            self._made.add_link(context, attributes)

    def record_exception(self, exception: BaseException, *said: Any, **named: Any) -> None:
        self._real().record_exception(exception, *said, **named)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        code = status.status_code if isinstance(status, Status) else status
        if code is StatusCode.ERROR or self._made is not None:
            self._real().set_status(status, description)

    def end(self, end_time: int | None = None) -> None:
        if self._made is not None:
            self._made.end(end_time)

    def _real(self) -> Span:
        if self._made is None:
            self._made = self._make(self._started)
            self._made.set_attributes(self._told or {})
        return self._made
