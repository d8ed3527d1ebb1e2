"""Kafka goes away and comes back: nothing that was acknowledged is missing, and the process goes on."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from tests.integration.ingress.site import Replica, Site, message_id, order, replica

from linkspan.broker import EmbeddedKafka
from linkspan.broker.ports import choose

pytestmark = pytest.mark.kafka


async def status(client: aiohttp.ClientSession, path: str) -> int:
    async with client.get(path) as answer:
        return answer.status


async def until(client: aiohttp.ClientSession, path: str, wanted: int, limit: float = 40) -> None:
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        try:
            if await status(client, path) == wanted:
                return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)
    raise AssertionError(f"{path} was never {wanted}")


async def test_without_kafka_it_refuses_at_once_and_the_same_process_recovers(
    own_broker: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    broker = own_broker()
    site = Site(tmp_path / "site", broker.bootstrap)
    async with replica(site, LINKSPAN_APPEND_SECONDS="30") as one, aiohttp.ClientSession(one.url) as client:
        before, during = order(), order()
        async with client.post("/v1/messages", json=before) as answer:
            assert answer.status == 202
        broker.kill()
        async with client.post("/v1/messages", json=during) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.content_type == "application/problem+json"
        at_once = aiohttp.ClientTimeout(total=25)  # and not after 30 s
        async with client.post("/v1/messages:batch", json=[during, order()], timeout=at_once) as answer:
            assert answer.status == 503
            assert "Retry-After" in answer.headers
            assert [result["status"] for result in (await answer.json())["results"]] == [503, 503]
        assert await status(client, "/ready") == 503
        assert await status(client, "/live") == 200
        broker.start()
        await until(client, "/ready", 200)
        async with client.post("/v1/messages", json=during) as answer:
            assert answer.status == 202
        assert {message_id(before), message_id(during)} <= (await site.events()).keys()
        assert await one.terminated() == 0


async def test_it_comes_up_unready_without_kafka_and_recovers_by_itself(
    own_broker: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    port = choose()
    site = Site(tmp_path / "site", f"127.0.0.1:{port}")
    one = Replica(site)
    try:
        async with aiohttp.ClientSession(one.url) as client:
            await until(client, "/live", 200)
            assert await status(client, "/ready") == 503
            async with client.post("/v1/messages", json=order()) as answer:
                assert answer.status == 503
            own_broker(port=port)
            await until(client, "/ready", 200)
            await one.ready()
            async with client.post("/v1/messages", json=order()) as answer:
                assert answer.status == 202
    finally:
        one.kill()


async def test_what_is_under_way_is_finished_before_the_process_ends(
    own_broker: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    site = Site(tmp_path / "site", own_broker().bootstrap)
    async with replica(site) as one, aiohttp.ClientSession(one.url) as client:
        acknowledged: list[str] = []
        async with client.post("/v1/messages", json=order()) as answer:
            assert answer.status == 202  # new topics have their leaders now

        async def send() -> None:
            while True:
                message = order()
                try:
                    async with client.post("/v1/messages", json=message) as answer:
                        if answer.status == 202:
                            acknowledged.append(message_id(message))
                except aiohttp.ClientError:
                    return

        senders = [asyncio.create_task(send()) for _ in range(8)]
        async with asyncio.timeout(60):
            while len(acknowledged) < 8:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await one.terminated() == 0
        await asyncio.gather(*senders)
        assert set(acknowledged) <= (await site.events()).keys()
