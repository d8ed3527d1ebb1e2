"""What the ledger's tests share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.integration.egress.bridge import write_integration
from tests.integration.ledger.site import Site
from tests.kafka_fixture import Kafka

MakeSite = Callable[..., Awaitable[Site]]


@pytest.fixture
def site(tmp_path: Path, kafka: Kafka, database_url: str) -> MakeSite:
    """Makes an integration with its topics and an empty ledger: ``await site(partitions=2)``."""

    async def make(url: str | None = None, partitions: int = 2, bootstrap: str | None = None) -> Site:
        system = {"kind": "rest", "url": "http://127.0.0.1:9"}
        path = write_integration(tmp_path, system, partitions=partitions)
        made = Site(path, bootstrap or kafka.bootstrap, url or database_url)
        await made.create_topics()
        return made

    return make
