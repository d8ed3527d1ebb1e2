"""One bridge for each test: what lies on its disk is looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.integration.at_rest.place import Place, systems

from linkspan.broker import EmbeddedKafka


@pytest.fixture
async def place(tmp_path: Path, own_broker: Callable[..., EmbeddedKafka]) -> AsyncIterator[Place]:
    async with systems() as both:
        made = Place(tmp_path, own_broker(), both)
        await made.topics_made()
        yield made
