"""The REST poller: each change of the feed is one event, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from tests.integration.ingress.feed_server import FeedServer, feed_server
from tests.integration.ingress.site import Replica, Site, replica
from tests.kafka_fixture import Kafka

from linkspan.broker import EmbeddedKafka
from linkspan.kernel.topics import Headers

pytestmark = pytest.mark.kafka
POLL = "poll: {path: /v1/changes, every: 200ms, limit: 10}"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


def order(count: int = 1, **more: Any) -> dict[str, Any]:
    return {"orderId": str(uuid.uuid4()), "count": count, **more}


def polled(tmp_path: Path, bootstrap: str, feed: FeedServer, poll: str = POLL) -> Site:
    return Site(tmp_path / "site", bootstrap, shop_port=feed.port, poll=poll)


async def records(site: Site, count: int, within: float = 40) -> list[Any]:
    """Waits until there are so many; then none may follow for half a second."""
    async with asyncio.timeout(within):
        while len(await site.records()) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    await asyncio.sleep(0.5)
    found = await site.records()
    assert len(found) == count
    return found


async def cursors(site: Site) -> list[str]:
    consumer = AIOKafkaConsumer(bootstrap_servers=site.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(f"{site.name}.sources", number) for number in range(2)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[str] = []
        while any([await consumer.position(one) < ends[one] for one in partitions]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += [json.loads(record.value)["cursor"] for record in batch if record.key == b"shop"]
        return found
    finally:
        await consumer.stop()


async def cursor_is(site: Site, wanted: str) -> None:
    async with asyncio.timeout(20):
        while (await cursors(site))[-1:] != [wanted]:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def metrics(one: Replica) -> dict[str, float]:
    async with ClientSession() as session, session.get(one.url + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}


async def test_changes_become_events_with_ids_that_stay_and_the_cursor_follows(kafka: Kafka, tmp_path: Path) -> None:
    async with feed_server() as feed:
        site = polled(tmp_path, kafka.bootstrap, feed)
        correlation = str(uuid.uuid4())
        feed.add(order(77), correlationId=correlation, traceparent=TRACEPARENT, at="2026-01-31T08:00:00Z")
        for number in range(34):
            feed.add(order(number, note="said"))
        async with replica(site):
            await records(site, 35)
            await cursor_is(site, "35")
        events = {event["payload"]["count"]: event for event in (await site.events()).values()}
        first = next(event for event in events.values() if event["metadata"]["correlationId"] == correlation)
        assert first["header"]["source"] == "shop"
        assert first["header"]["timestamp"] == 1_769_846_400_000_000
        assert "payload.note" in first["metadata"]["defaulted"]
        assert "payload.note" not in events[8]["metadata"]["defaulted"]
        headers = [dict(record.headers) for record in await site.records()]
        assert TRACEPARENT.encode() in {one[Headers.TRACEPARENT] for one in headers}

        feed.add(order(100))
        async with replica(site):
            await records(site, 36)
        assert feed.asked[-1] == 36
        assert [after for after in feed.asked if after == 0] == [0]


async def test_a_faulty_change_is_kept_as_it_came_with_its_faults(kafka: Kafka, tmp_path: Path) -> None:
    async with feed_server() as feed:
        site = polled(tmp_path, kafka.bootstrap, feed)
        wrong = order(1, colour="red")
        wrong["count"] = "many"
        feed.add(wrong)
        feed.add(order(2))
        feed.add({"anything": 1}, "Unheard")
        feed.items.append('{"change": 4, "type": "OrderPlaced"}')
        feed.items.append("[5]")
        feed.add({"anything": 2}, "Unheard")
        feed.add(order(3, note="x" * 1_200_000))
        feed.add({**wrong, "count": 1} | {"colour": None})
        async with replica(site) as one:
            found = await records(site, 6)
            counted = await metrics(one)
            assert one.log.read_text().count("changes of this type are skipped") == 1
        assert counted['linkspan_polled_total{result="skipped",source="shop"}'] == 2
        assert counted['linkspan_polled_total{result="unfit",source="shop"}'] == 5
        assert counted['linkspan_polled_total{result="taken",source="shop"}'] == 1
        unfit = {
            headers[Headers.REFUSED].decode(): (record, headers)
            for record in found
            if Headers.REFUSED in (headers := dict(record.headers))
        }
        assert len(unfit) == 5
        record, headers = next(pair for reason, pair in unfit.items() if "count" in reason and "colour" in reason)
        assert json.loads(record.value)["payload"] == wrong
        assert record.key == wrong["orderId"].encode()
        assert headers[Headers.TYPE] == b"OrderPlaced"
        assert uuid.UUID(headers[Headers.MESSAGE_ID].decode()).version == 5
        assert {"the item has no payload", "the item has no type"} <= unfit.keys()
        long = next(record for reason, (record, _) in unfit.items() if "the limit is" in reason)
        assert json.loads(long.value)["item"]["size"] > 1_200_000


async def test_a_page_that_is_read_again_gives_the_same_ids(kafka: Kafka, tmp_path: Path) -> None:
    """As after a kill -9 between Kafka's ack and the write of the cursor: the kept cursor is the one before."""
    async with feed_server() as feed:
        site = polled(tmp_path, kafka.bootstrap, feed)
        for number in range(4):
            feed.add(order(number))
        feed.items.append('{"change": 5, "type": "OrderPlaced", "payload": {}}')
        async with replica(site):
            before = await records(site, 5)
            await cursor_is(site, "5")
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            await producer.send_and_wait(f"{site.name}.sources", b'{"cursor": "0"}', b"shop")
        async with replica(site):
            both = await records(site, 10)
            await cursor_is(site, "5")
        ids = [[dict(record.headers)[Headers.MESSAGE_ID] for record in found] for found in (before, both)]
        assert len(set(ids[0])) == 5
        assert set(ids[0]) == set(ids[1])


async def test_a_feed_that_is_busy_or_broken_is_asked_again_when_it_said(kafka: Kafka, tmp_path: Path) -> None:
    async with feed_server() as feed:
        site = polled(tmp_path, kafka.bootstrap, feed)
        feed.answers = [
            web.json_response({}, status=429, headers={"Retry-After": "3"}),
            web.json_response({"title": "broken"}, status=500),
            web.Response(text="<html>", content_type="text/html"),
            web.json_response({"items": [{}]}),
        ]
        feed.add(order())
        async with replica(site) as one:
            while not feed.asked:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            started = asyncio.get_running_loop().time()
            while len(feed.asked) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert asyncio.get_running_loop().time() - started >= 2.9
            await records(site, 1)
            said = one.log.read_text()
        for reason in ("429", "500 broken", "is no page", "no next"):
            assert reason in said
        assert feed.asked[:5] == [0] * 5


async def test_without_kafka_nothing_is_asked_and_nothing_is_lost(
    own_broker: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    broker = own_broker()
    async with feed_server() as feed:
        site = polled(tmp_path, broker.bootstrap, feed)
        for number in range(15):
            feed.add(order(number))
        async with replica(site, LINKSPAN_APPEND_SECONDS="3"):
            await records(site, 15)
            await asyncio.to_thread(broker.kill)
            for number in range(15, 30):
                feed.add(order(number))
            await asyncio.sleep(12)
            asked = len(feed.asked)
            await asyncio.sleep(2)
            assert len(feed.asked) == asked
            await asyncio.to_thread(broker.start)
            async with asyncio.timeout(60):
                while len(await site.events()) < 30:  # noqa: ASYNC110
                    await asyncio.sleep(0.5)
            counts = {event["payload"]["count"] for event in (await site.events()).values()}
            assert counts == set(range(30))


async def test_one_replica_polls_and_another_takes_over_where_it_was(kafka: Kafka, tmp_path: Path) -> None:
    short = {"LINKSPAN_SESSION_SECONDS": "6"}
    async with feed_server() as feed:
        site = polled(tmp_path, kafka.bootstrap, feed)
        feed.add(order())
        async with replica(site, **short) as first, replica(site, **short) as second:
            await records(site, 1)
            await asyncio.sleep(2)
            polls = [one for one in (first, second) if '"source is polled"' in one.log.read_text()]
            feed.add(order())
            await records(site, 2)
            await cursor_is(site, "2")
            polls[-1].kill()
            feed.add(order())
            await records(site, 3)
        assert feed.asked.count(0) == 1
