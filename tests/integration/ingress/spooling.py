"""Ingress with a spool, as its tests start it again and ask it."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from tests.integration.ingress.outage import (
    QUICK,
)
from tests.integration.ingress.site import Replica, Site, replica
from tests.integration.ingress.test_outage import until

from linkspan.broker import EmbeddedKafka
from linkspan.ingress.append.drain import BATCH

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


def repeats(one: Replica, connections: int) -> int:
    """So many messages may be there twice because Kafka was slow to acknowledge them: a batch of the spool for each
    time that it connected beyond ``connections``."""
    return BATCH * max(0, one.log.read_text().count('"connected to Kafka"') - connections)


async def counted(client: aiohttp.ClientSession, what: str) -> int:
    async with client.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith(f"linkspan_{what}_total{{")))


def one_url(client: aiohttp.ClientSession) -> str:
    return str(client._base_url)
