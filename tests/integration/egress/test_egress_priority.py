"""Urgent messages overtake others of other keys, and nothing of their own."""

from __future__ import annotations

import pytest
from tests.integration.egress.bridge import lines_by_key, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination

pytestmark = pytest.mark.kafka


async def test_critical_overtakes_low_between_keys_and_never_within_one(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    rest.hold = 0.1
    made = await bridge(rest_system(rest, throttle={"concurrency": 1}), partitions=1)
    low = [(order_id(key), 0) for key in range(20)]
    await made.append(*low, priority="low")
    await made.append((order_id(3), 1), *((order_id(key), 0) for key in range(50, 55)), priority="critical")
    async with made.serving():
        await made.wait_outcomes(26)
    arrived = [got.order for got in rest.got]
    assert {key for key, _ in arrived[:5]} == {order_id(key) for key in range(50, 55)}
    assert lines_by_key(arrived)[order_id(3)] == [0, 1]
    assert arrived.index((order_id(3), 1)) < arrived.index((order_id(19), 0)), "it had to wait for its own key only"
    assert [order for order in arrived if order in low] == low
    assert {got.body["metadata"]["priority"] for got in rest.got} == {"low", "critical"}
