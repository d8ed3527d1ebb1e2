"""What waits: little of it is fetched ahead, and events larger than that come through."""

from __future__ import annotations

import pytest
from tests.integration.egress.bridge import order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination

from linkspan.kernel.kafka import clients

pytestmark = pytest.mark.kafka


async def test_events_larger_than_what_is_fetched_ahead_are_delivered_in_order(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), partitions=1)
    text = "x" * 3 * clients._AHEAD_BYTES
    for line in range(6):
        await made.append((order_id(1), line), text=text if line % 2 else "short")
    async with made.serving():
        await made.wait_outcomes(6)
    assert [got.order[1] for got in rest.got] == list(range(6))
    assert [len(got.body["payload"]["text"]) for got in rest.got] == [5, len(text)] * 3
