"""What a spool holds outlives kill -9, a stop and a full disk."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from tests.integration.ingress.site import Site, order
from tests.integration.ingress.spooling import KEYS, broker, repeats, restarted, site, spooling
from tests.integration.ingress.test_outage import until

from linkspan.broker import EmbeddedKafka
from linkspan.ingress.append.drain import BATCH
from linkspan.kernel.topics import Headers

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]
__all__ = ["broker", "site"]


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
        assert (await proof(site, accepted)).total() <= repeats(one, 1)
        replicas = list(dict.fromkeys(about(r)[Headers.ACCEPTED_BY] for r in await site.records()))
        assert len(replicas) == 3
        by_key: dict[bytes, list[str]] = {}
        for record in first_arrivals(await site.records()):
            by_key.setdefault(record.key, []).append(about(record)[Headers.ACCEPTED_BY])
        for key in KEYS:
            of_new = [name == replicas[2] for name in by_key[key.encode()]]
            assert of_new == sorted(of_new)


def first_arrivals(records: list[Any]) -> list[Any]:
    found: dict[str, Any] = {}
    for record in records:
        found.setdefault(about(record)[Headers.MESSAGE_ID], record)
    return list(found.values())


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
        assert (await proof(site, accepted)).total() <= repeats(second, 2)
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
    async with spooling(site, data) as (two, client):
        await until_drained(client)
        repeated = await proof(site, accepted)
        assert repeated.total() <= BATCH + repeats(one, 2) + repeats(two, 1)


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
        assert (await proof(site, accepted)).total() <= repeats(one, 2)


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
