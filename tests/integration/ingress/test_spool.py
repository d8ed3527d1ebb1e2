"""``when_kafka_is_away: spool``: accepted on this machine's disk, and in Kafka, in order, when it is back."""

import asyncio
import os
import signal
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from tests.integration.ingress.outage import (
    QUICK,
    Load,
    about,
    proof,
    send_batch,
    spooled,
    until_accepting,
    until_drained,
)
from tests.integration.ingress.site import Replica, Site, done, message_id, order, replica
from tests.integration.ingress.test_outage import status, until

from linkspan.broker import EmbeddedKafka
from linkspan.kernel.topics import Headers

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]
Brokers = Callable[..., EmbeddedKafka]
KEYS = [str(uuid.UUID(int=number)) for number in range(1, 13)]


@pytest.fixture
def broker(own_broker: Brokers) -> EmbeddedKafka:
    return own_broker()


@pytest.fixture
def site(broker: EmbeddedKafka, tmp_path: Path) -> Site:
    return Site(tmp_path / "site", broker.bootstrap, away="spool")


@asynccontextmanager
async def spooling(site: Site, data: Path, **environment: str) -> AsyncIterator[tuple[Replica, aiohttp.ClientSession]]:
    async with (
        replica(site, LINKSPAN_DATA=str(data), **{**QUICK, **environment}) as one,
        aiohttp.ClientSession(one.url) as client,
    ):
        yield one, client


@asynccontextmanager
async def restarted(site: Site, data: Path, **environment: str) -> AsyncIterator[tuple[Replica, aiohttp.ClientSession]]:
    """Kafka may be away: it is not waited for."""
    one = Replica(site, LINKSPAN_DATA=str(data), **{**QUICK, **environment})
    try:
        async with aiohttp.ClientSession(one.url) as client:
            await until(client, "/live", 200)
            yield one, client
    finally:
        one.kill()


async def test_under_load_nothing_is_lost_or_overtaken_while_kafka_is_killed_and_comes_back(
    broker: EmbeddedKafka, site: Site, tmp_path: Path
) -> None:
    """Also: the spool empties under that load, and only what was unacknowledged at the kill is there twice."""
    async with spooling(site, tmp_path / "data") as (_, client):
        await until_accepting(client)
        load = Load(one_url(client), KEYS)
        for _ in range(2):
            await asyncio.sleep(1.5)
            broker.kill()
            await until(client, "/ready", 503)
            await asyncio.sleep(5)
            away = time.monotonic()
            await asyncio.sleep(2)
            assert load.since(away) > 20
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
        assert repeated.total() <= 2 * (4 + 4 * 20)  # in flight at the kills


def one_url(client: aiohttp.ClientSession) -> str:
    return str(client._base_url)


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
        started = time.monotonic()
        async with client.post("/v1/messages", json=later, headers={"Prefer": "wait=20"}) as answer:
            body = await answer.json()
            assert (answer.status, body["queued"], body["willRetry"]) == (202, True, True)
        assert time.monotonic() - started < 5
        accepted |= {message_id(unacked), message_id(later)}
        assert await one.terminated() == 0
        assert "messages stay in the spool until the next start" in one.log.read_text()
    broker.start()
    async with spooling(site, data) as (_, client):
        await until_drained(client)
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


async def test_killed_while_it_spools_and_a_restart_drains_first(
    broker: EmbeddedKafka, site: Site, tmp_path: Path
) -> None:
    """Two processes on one directory keep apart; the next one takes over what both left."""
    data = tmp_path / "data"
    async with spooling(site, data) as (first, client), spooling(site, data) as (second, other):
        accepted = {await until_accepting(client), await until_accepting(other)}
        broker.kill()
        await until(client, "/ready", 503)
        await asyncio.sleep(4)
        loads = [Load(first.url, KEYS), Load(second.url, KEYS)]
        await asyncio.sleep(4)
        os.kill(first.process.pid, signal.SIGKILL)
        await asyncio.sleep(0.3)
        os.kill(second.process.pid, signal.SIGKILL)
        for load in loads:
            assert load.since(0) > 50
            accepted |= await load.stop()
    before = len(accepted)
    async with restarted(site, data) as (one, client):
        accepted.add(await until_accepting(client))
        load = Load(one.url, KEYS)
        await asyncio.sleep(1)
        broker.start()
        await until(client, "/ready", 200)
        await until_drained(client)
        accepted |= await load.stop()
        assert len(accepted) > before
        assert not await proof(site, accepted)
        replicas = list(dict.fromkeys(about(r)[Headers.ACCEPTED_BY] for r in await site.records()))
        assert len(replicas) == 3
        by_key: dict[bytes, list[str]] = {}
        for record in await site.records():
            by_key.setdefault(record.key, []).append(about(record)[Headers.ACCEPTED_BY])
        for key in KEYS:
            of_new = [name == replicas[2] for name in by_key[key.encode()]]
            assert of_new == sorted(of_new)


async def test_what_a_killed_process_spooled_is_drained_by_one_that_runs(
    broker: EmbeddedKafka, site: Site, tmp_path: Path
) -> None:
    """Nobody has to start it again; the running one keeps its own order meanwhile."""
    data = tmp_path / "data"
    async with spooling(site, data) as (first, client), spooling(site, data) as (second, other):
        accepted = {await until_accepting(client), await until_accepting(other)}
        broker.kill()
        await until(client, "/ready", 503)
        accepted |= {await until_accepting(client), await until_accepting(other)}
        accepted |= await send_batch(client, [order(KEYS[n % 12], n) for n in range(2000)])
        assert await spooled(client) > 2000
        first.kill()
        broker.start()
        await until(other, "/ready", 200)
        load = Load(second.url, KEYS, workers=4)
        async with asyncio.timeout(60):
            while "left behind is drained here" not in second.log.read_text():  # noqa: ASYNC110 - its log is read
                await asyncio.sleep(0.2)
        await until_drained(other)
        accepted |= await load.stop()
        assert not await proof(site, accepted)
        assert await second.terminated() == 0


async def test_killed_while_it_drains(broker: EmbeddedKafka, site: Site, tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with spooling(site, data) as (one, client):
        accepted = {await until_accepting(client)}
        broker.kill()
        await until(client, "/ready", 503)
        accepted.add(await until_accepting(client))
        for _ in range(3):
            accepted |= await send_batch(client, [order(KEYS[n % 12], n) for n in range(4000)])
        assert len(accepted) == 12_002
        broker.start()
        while await spooled(client) > 10_000:  # noqa: ASYNC110 - it is asked
            await asyncio.sleep(0.01)
        one.kill()
    async with spooling(site, data) as (_, client):
        await until_drained(client)
        repeated = await proof(site, accepted)
        assert repeated.total() <= 500


async def test_a_stop_with_kafka_there_drains_first(broker: EmbeddedKafka, site: Site, tmp_path: Path) -> None:
    async with spooling(site, tmp_path / "data") as (one, client):
        accepted = {await until_accepting(client)}
        broker.kill()
        await until(client, "/ready", 503)
        accepted.add(await until_accepting(client))
        accepted |= await send_batch(client, [order(KEYS[n % 12], n) for n in range(8000)])
        assert len(accepted) == 8002
        broker.start()
        await until(client, "/ready", 200)
        assert await one.terminated() == 0
        assert "messages stay in the spool" not in one.log.read_text()
        assert not await proof(site, accepted)


async def test_at_its_bound_it_refuses_and_says_when_to_come_again(
    broker: EmbeddedKafka, site: Site, tmp_path: Path
) -> None:
    async with spooling(site, tmp_path / "data", LINKSPAN_SPOOL_BYTES="65536") as (_, client):
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
        assert not await proof(site, accepted)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, on which writing really fails with ENOSPC."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs to mount a tmpfs: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_refuses_and_what_was_accepted_survives_it(
    broker: EmbeddedKafka, site: Site, tmp_path: Path, small_disk: Path
) -> None:
    """Also killed and started again on the full disk; and when all is drained, the space is there again."""
    async with spooling(site, small_disk) as (one, client):
        broker.kill()
        await until(client, "/ready", 503)
        accepted = {await until_accepting(client)}
        load = Load(one.url, KEYS)
        while "cannot be written" not in one.log.read_text():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.2)
        await asyncio.sleep(1)
        accepted |= await load.stop()
        (small_disk / "of-another").write_bytes(b"x" * max(0, os.statvfs(small_disk).f_bavail * 4096 - 4096))
        assert len(accepted) > 100
        one.kill()
    async with restarted(site, small_disk) as (_, client):
        assert await spooled(client) >= len(accepted)
        broker.start()
        await until(client, "/ready", 200)
        await until_drained(client)
        assert not (await proof(site, accepted)).keys() - accepted
        accepted.add(await until_accepting(client))
        broker.kill()
        await until(client, "/ready", 503)
        await until_accepting(client)
        assert await spooled(client) == 1
