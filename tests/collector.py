"""An OTLP/HTTP receiver that keeps the spans that the processes under test export."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class SpanLink:
    trace: str
    span: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Span:
    """``kind``: such as ``SERVER``; ``error``: its status' words, None where the span is no error."""

    service: str
    name: str
    kind: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, Any]
    links: list[SpanLink]
    events: list[str]
    error: str | None

    @property
    def step(self) -> str:
        return str(self.attributes.get("linkspan.step"))


class Collector:
    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.url = ""

    def of(self, trace: str) -> list[Span]:
        return [span for span in self.spans if span.trace == trace]

    def steps(self, *steps: str) -> list[Span]:
        return [span for span in self.spans if span.step in steps]

    def environ(self, ratio: float = 1.0) -> dict[str, str]:
        """For a process that exports to it."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_TRACES_SAMPLER_ARG": str(ratio),
        }

    async def take(self, request: web.Request) -> web.Response:
        batch = ExportTraceServiceRequest.FromString(await request.read())
        for resource in batch.resource_spans:
            service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            self.spans += [_span(service, span) for scope in resource.scope_spans for span in scope.spans]
        return web.Response()


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    made = Collector()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


def roots(spans: list[Span]) -> list[Span]:
    known = {span.span for span in spans}
    return [span for span in spans if span.parent not in known]


def _span(service: str, span: trace_pb2.Span) -> Span:
    return Span(
        service,
        span.name,
        trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        {item.key: _value(item.value) for item in span.attributes},
        [
            SpanLink(link.trace_id.hex(), link.span_id.hex(), {a.key: _value(a.value) for a in link.attributes})
            for link in span.links
        ],
        [event.name for event in span.events],
        span.status.message if span.status.code == trace_pb2.Status.STATUS_CODE_ERROR else None,
    )


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind) if kind else None
