"""From an event in Kafka to the other system and the outcome of each message."""

from __future__ import annotations

import asyncio
from collections import Counter

import aiohttp
import pytest
from tests.integration.egress.bridge import lines_by_key, order_id
from tests.integration.egress.conftest import MakeBridge, queue_system, rest_system
from tests.integration.egress.destinations import Got, QueueDestination, RestDestination, until
from tests.integration.egress.traffic import traffic

pytestmark = pytest.mark.kafka
ORDERS = [(order_id(key), line) for line in range(20) for key in range(10)]


async def test_events_arrive_in_order_of_each_key_and_every_outcome_is_recorded(
    bridge: MakeBridge, queue: QueueDestination
) -> None:
    made = await bridge(queue_system(queue), deliver={"path": "/v1/queue"})
    ids = await made.append(*ORDERS)
    async with made.serving():
        outcomes = await made.wait_outcomes(len(ORDERS))
    assert lines_by_key([got.order for got in queue.got]) == {order_id(key): list(range(20)) for key in range(10)}
    assert Counter(one["kind"] for one in outcomes) == {"delivered": len(ORDERS)}
    assert {one["messageId"] for one in outcomes} == set(ids)
    assert all(one["destination"] == "store" and one["acceptedAt"] <= one["sentAt"] <= one["at"] for one in outcomes)


async def page(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as answer:
        return await answer.text()


async def test_a_rest_destination_gets_path_and_fields_of_each_message(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), deliver={"method": "PUT", "path": "/v1/orders/{orderId}/{line}"})
    async with made.egress() as process:
        ids = await made.append(*ORDERS)
        await made.wait_outcomes(len(ORDERS))
        async with aiohttp.ClientSession() as session:
            for path in ("ready", "health"):
                async with session.get(f"{process.address}/{path}") as answer:
                    body = await answer.json()
                    assert path == "health" or answer.status == 200, body
            counted = 'linkspan_outcomes_total{destination="store",flow="orders",kind="delivered"} 200.0'
            async with asyncio.timeout(30):
                while counted not in await page(session, f"{process.address}/metrics"):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        assert set(body["checks"]) == {"systemA", "systemB", "messageQueue", "database"}
        assert await process.stop() == 0
    assert lines_by_key([got.order for got in rest.got]) == {order_id(key): list(range(20)) for key in range(10)}
    assert {got.id for got in rest.got} == set(ids)
    first = rest.got[0]
    assert first.path == f"/v1/orders/{first.order[0]}/{first.order[1]}"
    assert first.body["metadata"]["retryCount"] == 0
    assert "defaulted" not in first.body["metadata"]
    assert len({got.fields["X-Request-ID"] for got in rest.got}) == len(ORDERS)


async def test_a_restart_repeats_nothing_that_was_recorded(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest))
    await made.append(*ORDERS)
    async with made.serving():
        await made.wait_outcomes(len(ORDERS))
    more = [(order_id(key), 20) for key in range(10)]
    await made.append(*more)
    async with made.serving():
        await made.wait_outcomes(len(ORDERS) + len(more))
    assert len(rest.got) == len(ORDERS) + len(more)


async def test_a_dead_letter_keeps_its_reason_and_does_not_stop_the_others(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    def reply(got: Got) -> int:
        return {3: 500, 4: 422}.get(got.order[1], 201) if got.order[0] in keys else 201

    keys = {order_id(key) for key in range(3)}
    rest.reply, rest.problem = reply, {"title": "no", "errors": [{"field": "line", "error": "is unlucky"}]}
    made = await bridge(rest_system(rest), on_dead_letter="continue")
    orders = [(order_id(key), line) for line in range(6) for key in range(3)]
    await made.append(*orders)
    await made.append_raw(b"\xc3\x01 no such record", order_id(7))
    await made.append_raw(b"", order_id(8))
    async with made.egress() as process:
        async with traffic(made) as others:
            await made.wait_outcomes(8, kinds=("dead_lettered",))
        outcomes = await made.wait_outcomes(len(others.sent) + len(orders) + 2)
        outcomes = [one for one in outcomes if one["key"] in keys or one["kind"] != "delivered"]
        await process.stop()
        assert len(process.lines("dead letter")) == 8
    kinds = Counter((one["kind"], one["failure"]) for one in outcomes)
    assert kinds == {
        ("delivered", None): 12,
        ("attempt_failed", "transient"): 6,
        ("dead_lettered", "transient"): 3,
        ("dead_lettered", "rejected"): 3,
        ("dead_lettered", "poison"): 2,
    }
    reasons = {one["reason"] for one in outcomes if one["failure"] == "rejected"}
    assert reasons == {"422 no; line: is unlucky"}
    assert {one["attempt"] for one in outcomes if one["kind"] == "dead_lettered" and one["failure"] == "transient"} == {
        3
    }
    tried = [got.body["metadata"]["retryCount"] for got in rest.got if got.order == (order_id(0), 3)]
    assert tried == sorted(tried)
    assert set(tried) == {0, 1, 2}
    assert len(tried) >= 4, "one failure more than is charged, at least: it might have been the destination's"


async def test_an_outage_spends_no_attempt_and_then_everything_arrives(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest))
    await rest.stop()
    async with made.serving():
        await made.append(*ORDERS)
        await asyncio.sleep(3)
        assert await made.outcomes() == []
        await rest.start()
        rest.reply = lambda _got: 503 if len(rest.got) % 50 == 7 else 201
        outcomes = await made.wait_outcomes(len(ORDERS))
    assert {(one["kind"], one["attempt"]) for one in outcomes} == {("delivered", 0)}


async def test_an_expired_message_is_not_sent(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest))
    await made.append((order_id(1), 0), ttl=5, age=60.0)
    await made.append((order_id(1), 1), ttl=3600)
    async with made.serving():
        outcomes = await made.wait_outcomes(2)
    assert [one["kind"] for one in outcomes] == ["expired", "delivered"]
    assert [got.order[1] for got in rest.got] == [1]
    assert rest.got[0].body["metadata"]["ttl"] == 3600


async def test_the_sender_is_told_of_its_dead_letters(bridge: MakeBridge, rest: RestDestination) -> None:
    rest.reply = lambda got: 422 if "refusals" not in got.path and got.order[1] == 1 else 201
    made = await bridge(
        rest_system(rest),
        on_dead_letter="continue",
        refusal={"method": "PUT", "path": "/v1/orders/{orderId}/refusals/{messageId}"},
        shop=rest_system(rest),
    )
    ids = await made.append((order_id(1), 0), (order_id(1), 1), (order_id(1), 2))
    async with made.serving():
        await made.wait_outcomes(3)
        await until(lambda: any("refusals" in got.path for got in rest.got))
    told = [got for got in rest.got if "refusals" in got.path]
    assert told[0].path == f"/v1/orders/{order_id(1)}/refusals/{ids[1]}"
    assert told[0].body["payload"] == {
        "orderId": order_id(1),
        "messageId": ids[1],
        "class": "rejected",
        "reason": "422 {}",
    }
    assert told[0].id == told[0].body["header"]["messageId"] != ids[1]
    assert told[0].body["header"]["type"] == "Refusal"


async def test_what_ingress_could_not_refuse_is_a_dead_letter_with_its_faults(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest))
    refused = b"payload.line: expected an int"
    await made.append_raw(b'{"change": 1}', order_id(1), refused=refused, **{"message-id": b"the-id"})
    await made.append((order_id(1), 2))
    async with made.serving():
        outcomes = await made.wait_outcomes(2)
    assert [(one["kind"], one["failure"], one["key"]) for one in outcomes if one["messageId"] == "the-id"] == [
        ("dead_lettered", "poison", order_id(1))
    ]
    assert outcomes[0]["reason"] == "no message came in: payload.line: expected an int"
