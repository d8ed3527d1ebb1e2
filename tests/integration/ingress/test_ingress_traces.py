"""What the spans of ingress say: whose mistake it was, and that many messages of a request have a trace each."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.collector import Collector, Span, collecting
from tests.integration.ingress.site import Replica, Site, message_id, order
from tests.kafka_fixture import Kafka

from linkspan.kernel.telemetry.attributes import BATCH_COUNT, CORRELATION_ID, ERROR, LINK, MESSAGE_ID
from linkspan.kernel.topics import Headers

pytestmark = pytest.mark.kafka
SAMPLED, UNSAMPLED = (f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-{flag}" for flag in ("01", "00"))


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as made:
        yield made


@pytest.fixture
async def traced_site(collector: Collector, kafka: Kafka, tmp_path: Path) -> AsyncIterator[tuple[Site, Replica]]:
    """A replica that samples nothing by itself."""
    site = Site(tmp_path, kafka.bootstrap)
    replica = Replica(site, **collector.environ(0.0))
    await replica.ready()
    yield site, replica
    replica.kill()


async def spans(collector: Collector, count: int, *steps: str) -> list[Span]:
    async with asyncio.timeout(60):
        while len(collector.steps(*steps)) < count:  # noqa: ASYNC110 - whatever a test waits for
            await asyncio.sleep(0.05)
    return collector.steps(*steps)


async def test_each_message_of_a_batch_has_a_trace_of_its_own_that_links_to_the_request(
    traced_site: tuple[Site, Replica], collector: Collector
) -> None:
    site, replica = traced_site
    batch: list[Any] = [order() for _ in range(5)]
    async with aiohttp.ClientSession(replica.url) as session:
        url, headers = "/v1/messages:batch", {"traceparent": SAMPLED}
        async with session.post(url, json=[*batch, {"no": "message"}], headers=headers) as answer:
            assert answer.status == 207
            correlation = answer.headers["X-Correlation-ID"]
    created = [span for span in await spans(collector, 7, "accept") if span.name == "create"]
    appended = await spans(collector, 5, "append")
    (request,) = [span for span in collector.steps("accept") if span.kind == "SERVER"]
    assert (request.trace, request.parent) == (SAMPLED[3:35], SAMPLED[36:52])
    assert (request.attributes[BATCH_COUNT], request.attributes[CORRELATION_ID]) == (6, correlation)
    assert len({span.trace for span in created} - {request.trace}) == 6
    assert all(span.parent == "" for span in created)
    assert {(link.trace, link.span, link.attributes[LINK]) for span in created for link in span.links} == {
        (request.trace, request.span, "batch")
    }
    assert {span.parent for span in appended} < {span.span for span in created}
    assert {span.attributes[MESSAGE_ID] for span in appended} == {message_id(one) for one in batch}
    assert all(span.attributes.get(CORRELATION_ID) for span in collector.spans)
    found = {dict(one.headers)[Headers.TRACEPARENT].decode()[3:52] for one in await site.records()}
    assert found == {f"{span.trace}-{span.span}" for span in appended}
    (refused,) = [span for span in created if span.events]
    assert (refused.events, refused.error, refused.attributes[CORRELATION_ID]) == (["refused"], None, correlation)


async def test_a_callers_mistake_is_no_error_of_the_span(
    traced_site: tuple[Site, Replica], collector: Collector
) -> None:
    _, replica = traced_site
    async with aiohttp.ClientSession(replica.url) as session:
        for traceparent in (UNSAMPLED, SAMPLED):
            wrong = {"header": {"type": "OrderPlaced"}}
            async with session.post("/v1/messages", json=wrong, headers={"traceparent": traceparent}) as answer:
                assert answer.status == 400
                correlation = answer.headers["X-Correlation-ID"]
        async with session.post("/v1/messages", json=order(), headers={"traceparent": SAMPLED}) as answer:
            assert answer.status == 202
    refused, taken = await spans(collector, 2, "accept")
    assert (refused.attributes["http.response.status_code"], refused.error, refused.events) == (400, None, ["refused"])
    assert refused.attributes[CORRELATION_ID] == correlation
    assert (taken.attributes["http.response.status_code"], taken.name) == (202, "POST /v1/messages")
    assert {span.trace for span in collector.spans} == {SAMPLED[3:35]}


async def test_what_cannot_be_kept_now_is_exported_though_nobody_sampled_it(
    collector: Collector, tmp_path: Path
) -> None:
    site = Site(tmp_path, "127.0.0.1:9")
    replica = Replica(site, **collector.environ(0.0))
    async with aiohttp.ClientSession(replica.url) as session:
        try:
            async with asyncio.timeout(60):
                while True:
                    with_context = {"traceparent": UNSAMPLED}
                    try:
                        async with session.post("/v1/messages", json=order(), headers=with_context) as answer:
                            assert answer.status == 503
                            break
                    except aiohttp.ClientConnectorError:
                        await asyncio.sleep(0.2)
            (span,) = await spans(collector, 1, "accept")
        finally:
            replica.kill()
    assert (span.trace, span.parent) == (UNSAMPLED[3:35], UNSAMPLED[36:52])
    assert (span.attributes[ERROR], span.attributes["http.response.status_code"]) == ("503", 503)
    assert span.error
    assert span.attributes[CORRELATION_ID]
