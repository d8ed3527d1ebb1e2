"""``when_kafka_is_away: spool``: accepted on this machine's disk, and in Kafka, in order, when it is back."""

import asyncio
import os
import signal
import time
from pathlib import Path

import aiohttp
import pytest
from tests.integration.ingress.outage import (
    Load,
    about,
    proof,
    send_batch,
    spooled,
    until_accepting,
    until_drained,
)
from tests.integration.ingress.site import Site, done, message_id, order
from tests.integration.ingress.spooling import KEYS, broker, counted, one_url, repeats, site, spooling
from tests.integration.ingress.test_outage import status, until

from linkspan.broker import EmbeddedKafka
from linkspan.kernel.topics import Headers

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]
__all__ = ["broker", "site"]


async def test_under_load_nothing_is_lost_or_overtaken_while_kafka_is_killed_and_comes_back(
    broker: EmbeddedKafka, site: Site, tmp_path: Path
) -> None:
    """Also: the spool empties under that load, and only what was unacknowledged at the kill is there twice."""
    async with spooling(site, tmp_path / "data") as (one, client):
        await until_accepting(client)
        load = Load(one_url(client), KEYS)
        for _ in range(2):
            await asyncio.sleep(1.5)
            broker.kill()
            await until(client, "/ready", 503)
            await asyncio.sleep(5)
            away = time.monotonic()
            async with asyncio.timeout(60):
                while load.since(away) <= 20:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert await spooled(client) > 20
            assert await status(client, "/ready") == 503
            async with client.post("/v1/messages", json=done()) as answer:
                assert answer.status == 503  # its flow refuses
            broker.start()
            await until(client, "/ready", 200)
            await until_drained(client)
        await asyncio.sleep(1)
        accepted = await load.stop()
        repeated = await proof(site, accepted)
        assert repeated.total() <= 2 * (4 + 4 * 20) + repeats(one, 3)  # in flight at the kills


@pytest.mark.thorough
async def test_grace_answers_and_a_stop_without_kafka(broker: EmbeddedKafka, site: Site, tmp_path: Path) -> None:
    """The unacknowledged message is spooled at once; later ones are refused for the grace, then spooled."""
    data = tmp_path / "data"
    accepted: set[str] = set()
    async with spooling(site, data, LINKSPAN_SPOOL_GRACE_SECONDS="8") as (one, client):
        accepted.add(await until_accepting(client))
        os.kill(broker.pid or 0, signal.SIGSTOP)
        unacked, later = order(KEYS[0], 1), order(KEYS[0], 2)
        async with client.post("/v1/messages", json=unacked) as answer:
            assert answer.status == 202
        broker.kill()
        assert await spooled(client) == 1
        async with client.post("/v1/messages", json=later) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        await until_accepting(client)
        at_once = aiohttp.ClientTimeout(total=45)  # and not after the 60 s that it would wait
        waits = {"Prefer": "wait=60"}
        async with client.post("/v1/messages", json=later, headers=waits, timeout=at_once) as answer:
            body = await answer.json()
            assert (answer.status, body["queued"], body["willRetry"]) == (202, True, True)
        accepted |= {message_id(unacked), message_id(later)}
        assert await counted(client, "accepted") == 4  # with that of the second time that it was accepting
        assert (await counted(client, "appended"), await spooled(client)) == (1, 3)
        assert await one.terminated() == 0
        assert "messages stay in the spool until the next start" in one.log.read_text()
    broker.start()
    async with spooling(site, data) as (_, client):
        await until_drained(client)
        assert await counted(client, "accepted") == 0  # by the process before it
        newest = order(KEYS[0], 3)
        async with client.post("/v1/messages", json=newest) as answer:
            assert answer.status == 202
        await proof(site, accepted | {message_id(newest)})
        of_key = {about(r)[Headers.MESSAGE_ID]: r for r in await site.records() if r.key == KEYS[0].encode()}
        assert list(of_key) == [message_id(one) for one in (unacked, later, newest)]
        first, _, direct = of_key.values()
        assert [name for name, _ in first.headers] == [name for name, _ in direct.headers]
        assert int(about(first)[Headers.ACCEPTED_AT]) // 1000 == first.timestamp
        assert first.timestamp < direct.timestamp - 8_000


@pytest.mark.thorough
async def test_at_its_bound_it_refuses_and_says_when_to_come_again(
    broker: EmbeddedKafka, site: Site, tmp_path: Path
) -> None:
    async with spooling(site, tmp_path / "data", LINKSPAN_SPOOL_BYTES="65536") as (one, client):
        broker.kill()
        await until(client, "/ready", 503)
        accepted = {await until_accepting(client)}
        accepted |= await send_batch(client, [order(KEYS[0], n, note="x" * 1000) for n in range(100)])
        assert 30 < len(accepted) < 64
        async with client.post("/v1/messages", json=order(note="x" * 2000)) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
            assert "the spool is full" in (await answer.json(content_type=None))["detail"]
        broker.start()
        await until_drained(client)
        accepted.add(await until_accepting(client))
        assert (await proof(site, accepted)).total() <= repeats(one, 2)
