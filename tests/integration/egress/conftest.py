"""What the egress tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.egress.bridge import Bridge, write_integration
from tests.integration.egress.destinations import QueueDestination, RestDestination
from tests.kafka_fixture import Kafka

MakeBridge = Callable[..., Awaitable[Bridge]]
#: Short waits, so that a test sees several in a second.
RETRY = {"attempts": 3, "first": "100ms", "cap": "500ms"}


def rest_system(destination: RestDestination, **more: Any) -> dict[str, Any]:
    return {"kind": "rest", "url": destination.url, "retry": RETRY, "throttle": {"concurrency": 16}} | more


def queue_system(destination: QueueDestination, **more: Any) -> dict[str, Any]:
    auth = {"api_key": destination.api_key}
    return {"kind": "websocket", "url": destination.url, "retry": RETRY, "auth": auth} | more


@pytest.fixture
async def rest() -> AsyncIterator[RestDestination]:
    destination = await RestDestination().start()
    yield destination
    await destination.stop()


@pytest.fixture
async def queue() -> AsyncIterator[QueueDestination]:
    destination = await QueueDestination().start()
    yield destination
    await destination.stop()


@pytest.fixture
def bridge(tmp_path: Path, kafka: Kafka) -> MakeBridge:
    """Makes an integration with its topics: ``await bridge(system, **flow)``."""

    async def make(system: dict[str, Any], bootstrap: str | None = None, **flow: Any) -> Bridge:
        made = Bridge(write_integration(tmp_path, system, **flow), bootstrap or kafka.bootstrap)
        await made.create_topics()
        return made

    return make
