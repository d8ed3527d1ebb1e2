"""One replica for all tests over HTTP that leave its Kafka alone."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from tests.integration.ingress.site import Replica, Site
from tests.kafka_fixture import Kafka


@pytest.fixture(scope="session")
def site(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"), kafka.bootstrap)


@pytest.fixture(scope="session")
def started(site: Site) -> Iterator[Replica]:
    replica = Replica(site, LINKSPAN_MAX_BODY_BYTES=str(4 * 1024 * 1024))
    yield replica
    replica.kill()


@pytest.fixture
async def client(started: Replica) -> AsyncIterator[aiohttp.ClientSession]:
    if not hasattr(started, "is_ready"):
        await started.ready()
        started.is_ready = True  # type: ignore[attr-defined]
    async with aiohttp.ClientSession(started.url) as session:
        yield session
