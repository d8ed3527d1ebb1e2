"""What the tests of the control API share."""

import pytest
from tests.integration.egress.bridge import Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, bridge, queue, rest, rest_system
from tests.integration.egress.destinations import RestDestination

__all__ = ["bridge", "queue", "rest"]


@pytest.fixture
async def made(bridge: MakeBridge, rest: RestDestination) -> Bridge:
    """Twelve events in two partitions, none delivered."""
    found = await bridge(rest_system(rest), partitions=2)
    await found.append(*((order_id(number), number) for number in range(12)))
    return found
