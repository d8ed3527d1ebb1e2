"""One story: the spans of all processes belong to one trace, exported by OTLP."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.e2e.conftest import running, until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

WAY = {
    ("linkspan-ingress", "accept"),
    ("linkspan-ingress", "append"),
    ("linkspan-egress", "consume"),
    ("linkspan-egress", "transform"),
    ("linkspan-egress", "deliver"),
}
ALL = {"linkspan-ingress", "linkspan-egress", "linkspan-plan-manager", "linkspan-analysis"}


@dataclass(frozen=True)
class Span:
    service: str
    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, Any]


def roots(spans: list[Span]) -> list[Span]:
    known = {span.span for span in spans}
    return [span for span in spans if span.parent not in known]


class Collector:
    """An OTLP/HTTP receiver that keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        batch = ExportTraceServiceRequest.FromString(await request.read())
        for resource in batch.resource_spans:
            service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            for scope in resource.scope_spans:
                self.spans += [
                    Span(
                        service,
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        {item.key: item.value.string_value for item in span.attributes},
                    )
                    for span in scope.spans
                ]
        return web.Response()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    made = Collector()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def test_a_plan_and_its_analysis_are_one_trace_through_all_four_processes(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from linkspan.reference.plans.floor_plan import write_floor_plan

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "300")
    drawing = tmp_path / "floor.dxf"
    write_floor_plan(drawing)
    async with running(tmp_path) as bridge:
        plan_id, correlation_id = await bridge.upload(drawing)
        plan = await bridge.end_of(plan_id)
        trace = plan["traceparent"][3:35]

        async def whole() -> list[Span] | None:
            spans = [span for span in collector.spans if span.trace == trace]
            ways = [(span.service, span.name) for span in spans]
            complete = all(ways.count(step) == 2 for step in WAY) and {span.service for span in spans} >= ALL
            return spans if complete and len(roots(spans)) == 1 else None

        spans = await until(whole, 30, f"both ways are traced: {collector.spans}")
    assert [(root.service, root.parent) for root in roots(spans)] == [("linkspan-plan-manager", "")]
    for span in spans:
        if (span.service, span.name) in WAY:
            assert span.attributes["linkspan.correlation_id"] == correlation_id
