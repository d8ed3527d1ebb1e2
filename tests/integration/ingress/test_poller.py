"""The REST poller: each change of the feed is one event, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiokafka import AIOKafkaProducer
from tests.integration.ingress.feed_server import feed_server
from tests.integration.ingress.polling import (
    SHORT,
    cursor_is,
    events,
    metrics,
    order,
    outcomes,
    polled,
    records,
    silent,
)
from tests.integration.ingress.site import Replica, replica
from tests.kafka_fixture import Kafka

from linkspan.broker import EmbeddedKafka
from linkspan.kernel.topics import Headers

pytestmark = pytest.mark.kafka
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


async def test_changes_become_events_with_ids_that_stay_and_the_cursor_follows(kafka: Kafka, tmp_path: Path) -> None:
    async with feed_server() as feed:
        site = polled(tmp_path, kafka.bootstrap, feed)
        correlation = str(uuid.uuid4())
        feed.add(order(77), correlationId=correlation, traceparent=TRACEPARENT, at="2026-01-31T08:00:00Z")
        for number in range(34):
            feed.add(order(number, note="said"))
        async with replica(site, **SHORT):
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
        async with replica(site, **SHORT):
            await records(site, 36)
            async with asyncio.timeout(60):
                while feed.asked[-1] != 36:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
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
        feed.add({**wrong, "count": 1} | {"colour": None, "orderId": str(uuid.uuid4())})
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
        reason = next(reason for reason in unfit if "payload.count" in reason)
        record, headers = unfit[reason]
        assert json.loads(record.value)["payload"] == wrong
        assert record.key == wrong["orderId"].encode()
        assert headers[Headers.TYPE] == b"OrderPlaced"
        assert uuid.UUID(headers[Headers.MESSAGE_ID].decode()).version == 5
        assert {"the item has no payload", "the item has no type"} <= unfit.keys()
        long = next(record for said, (record, _) in unfit.items() if "the limit is" in said)
        assert json.loads(long.value)["item"]["size"] > 1_200_000
        letters = {one["reason"]: one for one in await outcomes(site, 6)}
        assert letters.pop(None)["kind"] == "delivered"
        assert letters.keys() == {f"no message came in: {reason}" for reason in unfit}
        assert {(one["kind"], one["failure"]) for one in letters.values()} == {("dead_lettered", "poison")}
        assert letters[f"no message came in: {reason}"]["key"] == wrong["orderId"]
        assert {one["messageId"] for one in letters.values()} == {
            headers[Headers.MESSAGE_ID].decode() for _, headers in unfit.values()
        }


async def test_a_page_that_is_read_again_gives_the_same_ids(kafka: Kafka, tmp_path: Path) -> None:
    """As after a kill -9 between Kafka's ack and the write of the cursor: the kept cursor is the one before."""
    async with feed_server() as feed:
        site = polled(tmp_path, kafka.bootstrap, feed)
        for number in range(4):
            feed.add(order(number))
        feed.items.append('{"change": 5, "type": "OrderPlaced", "payload": {}}')
        async with replica(site, **SHORT):
            before = await records(site, 5)
            await cursor_is(site, "5")
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            await producer.send_and_wait(f"{site.name}.sources", b'{"cursor": "0"}', b"shop")
        async with replica(site, **SHORT):
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
            while len(feed.asked) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert feed.times[1] - feed.times[0] >= 2.9
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
            await events(site, 15)
            await asyncio.to_thread(broker.kill)
            for number in range(15, 30):
                feed.add(order(number))
            async with asyncio.timeout(30):
                await silent(feed)
            await asyncio.to_thread(broker.start)
            counts = {event["payload"]["count"] for event in (await events(site, 30)).values()}
            assert counts == set(range(30))


@pytest.mark.thorough
async def test_one_replica_polls_and_another_takes_over_where_it_was(kafka: Kafka, tmp_path: Path) -> None:
    async with feed_server() as feed:
        site = polled(tmp_path, kafka.bootstrap, feed)
        feed.add(order())
        async with replica(site, **SHORT) as first, replica(site, **SHORT) as second:
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


@pytest.mark.thorough
async def test_kill_9_in_the_middle_loses_nothing_and_makes_no_other_ids(kafka: Kafka, tmp_path: Path) -> None:
    """First arrivals are in the feed's order for each key, and what comes twice is the same."""
    async with feed_server() as feed:
        site = polled(tmp_path, kafka.bootstrap, feed)
        keys = [str(uuid.uuid4()) for _ in range(4)]
        for number in range(400):
            feed.add({"orderId": keys[number % 4], "count": number})
        for stop in (40, 200):
            async with replica(site, **SHORT) as one:
                while max(feed.asked, default=0) < stop:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                one.kill()
        async with replica(site, **SHORT):
            await cursor_is(site, "400")
        decoder = site.decoder()
        events = [decoder.decode(record.value)[1] for record in await site.records()]
        ids = {(event["header"]["messageId"], event["payload"]["count"]) for event in events}
        assert len(ids) == len({one for one, _ in ids}) == 400
        for key in keys:
            first = dict.fromkeys(event["payload"]["count"] for event in events if event["payload"]["orderId"] == key)
            assert list(first) == sorted(first)


@pytest.mark.thorough
async def test_a_leader_that_slept_past_its_session_stops_polling(kafka: Kafka, tmp_path: Path) -> None:
    """What it had begun may come twice, with the same ids; then one replica polls, the other."""
    async with feed_server() as feed:
        site = polled(tmp_path, kafka.bootstrap, feed)
        for number in range(20):
            feed.add(order(number))
        async with replica(site, **SHORT) as first:
            await cursor_is(site, "20")
            async with replica(site, **SHORT) as second:
                await asyncio.sleep(4)
                async with asyncio.timeout(30):
                    while holds(first) == holds(second):  # noqa: ASYNC110
                        await asyncio.sleep(0.1)
                holder = first if holds(first) else second
                given_back = holder.log.read_text().count("given back")
                os.kill(holder.process.pid, signal.SIGSTOP)
                for number in range(20, 40):
                    feed.add(order(number))
                await cursor_is(site, "40")
                os.kill(holder.process.pid, signal.SIGCONT)
                async with asyncio.timeout(60):
                    while holder.log.read_text().count("given back") == given_back:  # noqa: ASYNC110
                        await asyncio.sleep(0.1)
                for number in range(40, 60):
                    feed.add(order(number))
                await cursor_is(site, "60")
                counts = sorted(event["payload"]["count"] for event in (await site.events()).values())
        assert counts == list(range(60))


def holds(one: Replica) -> bool:
    about = [line for line in one.log.read_text().splitlines() if "source is polled" in line or "given back" in line]
    return bool(about) and "source is polled" in about[-1]
