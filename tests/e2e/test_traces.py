"""One story: the spans of all processes belong to one trace, exported by OTLP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from linkspan.kernel.telemetry.attributes import CORRELATION_ID, MEANINGS, SYSTEM
from tests.collector import Collector, Span, collecting, roots
from tests.e2e.conftest import running, until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

WAY = {
    ("linkspan-ingress", "accept"),
    ("linkspan-ingress", "append"),
    ("linkspan-egress", "consume"),
    ("linkspan-egress", "deliver"),
}
ALL = {"linkspan-ingress", "linkspan-egress", "linkspan-plan-manager", "linkspan-analysis"}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as made:
        yield made


async def test_a_plan_and_its_analysis_are_one_trace_through_all_four_processes(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from linkspan.reference.plans.floor_plan import write_floor_plan

    for name, value in collector.environ().items():
        monkeypatch.setenv(name, value)
    drawing = tmp_path / "floor.dxf"
    write_floor_plan(drawing)
    async with running(tmp_path) as bridge:
        plan_id, correlation_id = await bridge.upload(drawing)
        plan = await bridge.end_of(plan_id)
        trace = plan["traceparent"][3:35]

        async def whole() -> list[Span] | None:
            spans = collector.of(trace)
            ways = [(span.service, span.step) for span in spans]
            complete = all(ways.count(step) == 2 for step in WAY) and {span.service for span in spans} >= ALL
            return spans if complete and len(roots(spans)) == 1 and "store" in {span.step for span in spans} else None

        spans = await until(whole, 30, f"both ways are traced: {collector.spans}")
    assert [(root.service, root.parent) for root in roots(spans)] == [("linkspan-plan-manager", "")]
    assert {span.attributes.get(CORRELATION_ID) for span in collector.spans} == {correlation_id}
    assert not [span for span in collector.spans if span.error is not None]
    _are_as_declared(collector.spans)


def _are_as_declared(spans: list[Span]) -> None:
    """Messaging and HTTP spans have what the conventions require of them, and no attribute is undeclared."""
    assert {name for span in spans for name in span.attributes} <= MEANINGS.keys()
    messaging = [span for span in spans if SYSTEM in span.attributes]
    assert {span.kind for span in messaging} == {"PRODUCER", "CONSUMER"}
    for span in messaging:
        operation, destination = (
            span.attributes["messaging.operation.name"],
            span.attributes["messaging.destination.name"],
        )
        assert span.name == f"{operation} {destination}"
    servers = [span for span in spans if span.kind == "SERVER"]
    assert {"PUT /v1/plans/{plan_id}", "POST /v1/messages"} <= {span.name for span in servers}
    required = {"http.request.method", "url.path", "url.scheme", "http.route", "http.response.status_code"}
    assert all(span.attributes.keys() >= required for span in servers)
    asking = [span for span in spans if span.kind == "CLIENT"]
    required = {"http.request.method", "url.full", "server.address", "server.port", "http.response.status_code"}
    assert len(asking) >= 2
    assert all(span.attributes.keys() >= required for span in asking)
