"""What the spans of egress say: one trace a message, links where many share a request, failures always."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.collector import Collector, Span, collecting
from tests.integration.egress.bridge import FLOW, Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import Got, RestDestination, until
from tests.integration.egress.test_egress_holds import parked

from linkspan.kernel.telemetry.attributes import ATTEMPT, CORRELATION_ID, ERROR, LINK, MESSAGE_ID, REDRIVE
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.kernel.topics import Headers

pytestmark = pytest.mark.kafka
BATCHES = {"path": "/v1/orders/{orderId}", "batch": {"path": "/v1/batch", "size": 8, "wait": "200ms"}}
UNSAMPLED = b"-00"


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    async with collecting() as made:
        for name, value in made.environ(0.0).items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
async def tracing(collector: Collector) -> AsyncIterator[Tracing]:
    made = Tracing.from_environment("egress")
    yield made
    await asyncio.to_thread(made.close)


async def headers(made: Bridge) -> dict[str, dict[str, str]]:
    """Those of every event, by message id."""
    found: dict[str, dict[str, str]] = {}
    partitions = [TopicPartition(made.topics.events, number) for number in range(made.partitions)]
    async with AIOKafkaConsumer(bootstrap_servers=made.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                for record in (await consumer.getmany(partition, timeout_ms=500)).get(partition, []):
                    said = {name: value.decode("latin-1") for name, value in record.headers}
                    found[said[Headers.MESSAGE_ID]] = said
    return found


def by_attempt(spans: list[Span]) -> list[Span]:
    return sorted(spans, key=lambda span: span.attributes[ATTEMPT])


async def test_attempts_are_children_of_one_span_each_with_its_number_and_the_class_of_its_failure(
    bridge: MakeBridge, rest: RestDestination, collector: Collector, tracing: Tracing
) -> None:
    replies = iter((500, 503, 201))
    rest.reply = lambda _got: next(replies)
    made = await bridge(rest_system(rest), deliver={"path": "/v1/orders/{orderId}", "method": "PUT"})
    await made.append((order_id(1), 0))
    async with made.serving(tracing):
        await until(lambda: len(collector.steps("deliver")) == 3)
    attempts = by_attempt(collector.steps("deliver"))
    (consumed,) = collector.steps("consume")
    assert [span.attributes[ATTEMPT] for span in attempts] == [1, 2, 3]
    assert {(span.trace, span.parent) for span in attempts} == {(consumed.trace, consumed.span)}
    assert [span.attributes.get(ERROR) for span in attempts] == ["transient", "unavailable", None]
    assert [span.attributes["http.response.status_code"] for span in attempts] == [500, 503, 201]
    assert [span.attributes.get("http.request.resend_count") for span in attempts] == [None, 1, 2]
    assert [span.events for span in attempts] == [["exception"], ["exception"], []]
    assert {span.name for span in attempts} == {"PUT /v1/orders/{orderId}"}
    assert [got.traceparent[3:52] for got in rest.got] == [f"{span.trace}-{span.span}" for span in attempts]


async def test_nobody_sampled_the_message_but_from_its_first_failure_on_it_is_seen(
    bridge: MakeBridge, rest: RestDestination, collector: Collector, tracing: Tracing
) -> None:
    failing, fine = order_id(1), order_id(2)

    def reply(got: Got) -> int:
        return 500 if got.order[0] == failing and [one.id for one in rest.got].count(got.id) == 1 else 201

    rest.reply = reply
    made = await bridge(rest_system(rest))
    ids = await made.append((failing, 0), *((fine, line) for line in range(20)), flag=UNSAMPLED)
    async with made.serving(tracing):
        await made.wait_outcomes(21)
        await until(lambda: len(collector.steps("deliver")) == 2)
    first, second = by_attempt(collector.steps("deliver"))
    said = (await headers(made))[ids[0]]
    assert len(collector.spans) == 2, collector.spans
    for span in (first, second):
        assert (span.trace, span.parent) == (said["traceparent"][3:35], said["traceparent"][36:52])
        assert span.attributes[CORRELATION_ID] == said["correlation-id"]
        assert span.attributes[MESSAGE_ID] == ids[0]
    assert (first.attributes[ERROR], second.error) == ("transient", None)
    flags = {got.traceparent[-2:] for got in rest.got if got.order[0] == fine}
    assert flags == {"00"}
    assert [got.traceparent[-2:] for got in rest.got if got.id == ids[0]] == ["00", "01"]


async def test_a_dead_letter_is_seen_keeps_its_context_and_its_redrive_links_to_it(
    bridge: MakeBridge, rest: RestDestination, collector: Collector, tracing: Tracing
) -> None:
    bad = {order_id(1)}
    rest.reply = lambda got: 422 if got.order[0] in bad else 201
    made = await bridge(rest_system(rest), on_dead_letter="hold")
    ids = await made.append((order_id(1), 0), (order_id(1), 1), flag=UNSAMPLED)
    said = await headers(made)
    original = said[ids[0]]["traceparent"]
    async with made.serving(tracing):
        await made.wait_outcomes(2, kinds=("dead_lettered", "held"))
        copies: dict[str, dict[str, bytes]] = {}
        async with asyncio.timeout(60):
            while not copies.keys() >= set(ids):
                found = [dict(one.headers) for one in await parked(made)]
                copies = {one[Headers.MESSAGE_ID].decode(): one for one in found}
        bad.clear()
        await made.command("redrive", *await made.letter(order_id(1)))
        await made.wait_outcomes(1, kinds=("opened",))
        await until(lambda: len([span for span in collector.steps("deliver") if span.error is None]) == 1)
    assert {one: copies[one][Headers.TRACEPARENT].decode() for one in ids} == {
        one: said[one]["traceparent"] for one in ids
    }
    (dead,) = collector.steps("record")
    assert (dead.trace, dead.name) == (original[3:35], f"dead_lettered {made.topics.events}")
    assert dead.attributes[ERROR] == "rejected"
    again = [span for span in collector.spans if span.attributes.get(REDRIVE)]
    assert {span.step for span in again} == {"consume", "deliver"}
    assert len({span.trace for span in again}) == 1
    assert again[0].trace != original[3:35]
    (consumed,) = [span for span in again if span.step == "consume"]
    assert consumed.parent == ""
    assert [(f"{one.trace}-{one.span}", one.attributes[LINK]) for one in consumed.links] == [
        (original[3:52], "original")
    ]
    assert {span.attributes[CORRELATION_ID] for span in again} == {said[ids[0]]["correlation-id"]}
    follower = rest.got[-1]
    assert (follower.id, follower.traceparent) == (ids[1], said[ids[1]]["traceparent"]), "it only waited"


async def test_a_batch_is_a_trace_of_its_own_linked_to_each_message_and_nobodys_parent(
    bridge: MakeBridge, rest: RestDestination, collector: Collector, tracing: Tracing
) -> None:
    made = await bridge(rest_system(rest), partitions=1, deliver=BATCHES)
    ids = await made.append(*((order_id(key), 0) for key in range(6)))
    ids += await made.append(*((order_id(key), 0) for key in range(6, 8)), flag=UNSAMPLED)
    async with made.serving(tracing):
        await made.wait_outcomes(8)
        await until(lambda: len(collector.steps("deliver")) == 6 + len(rest.batches))
    said = await headers(made)
    requests = [span for span in collector.steps("deliver") if span.kind == "CLIENT"]
    attempts = [span for span in collector.steps("deliver") if span.kind == "PRODUCER"]
    assert {span.attributes[MESSAGE_ID]: span.trace for span in attempts} == {
        one: said[one]["traceparent"][3:35] for one in ids[:6]
    }
    assert {span.name for span in requests} == {"POST /v1/batch"}
    assert all(span.parent == "" for span in requests)
    assert not {span.parent for span in collector.spans} & {span.span for span in requests}
    links = {(link.trace, link.span) for span in requests for link in span.links}
    assert links == {(span.trace, span.span) for span in attempts}
    back = {(link.trace, link.span) for span in attempts for link in span.links}
    assert back == {(span.trace, span.span) for span in requests}
    told = [one for span in requests for one in span.attributes[CORRELATION_ID]]
    assert sorted(told) == sorted(said[one]["correlation-id"] for one in ids)
    assert sum(span.attributes["messaging.batch.message_count"] for span in requests) == 8


async def test_every_span_of_egress_has_the_correlation_id_also_of_poison_and_of_what_waits_for_a_lookup(
    bridge: MakeBridge, rest: RestDestination, collector: Collector, tracing: Tracing
) -> None:
    made = await bridge(
        rest_system(rest),
        transform=[{"lookup": {"system": "shop", "path": "/v1/{orderId}", "key": "orderId", "into": "more"}}],
    )
    ids = await made.append((order_id(1), 0))
    await made.append_raw(
        b"no event",
        order_id(2),
        **{
            Headers.TRACEPARENT: b"00-" + b"1" * 32 + b"-" + b"2" * 16 + UNSAMPLED,
            Headers.CORRELATION_ID: b"of-poison",
            Headers.MESSAGE_ID: b"poison",
        },
    )
    async with made.serving(tracing):
        await until(lambda: bool(collector.steps("lookup")) and bool(collector.steps("record")))
    said = (await headers(made))[ids[0]]["correlation-id"]
    assert {span.attributes[CORRELATION_ID] for span in collector.spans} == {said, "of-poison"}
    assert {span.step for span in collector.spans if span.attributes[CORRELATION_ID] == "of-poison"} == {
        "consume",
        "record",
    }
    assert {span.attributes.get("linkspan.flow") for span in collector.spans} == {FLOW}
    assert collector.steps("lookup")[0].attributes[ERROR] == "unavailable"
