"""A rolling restart of three egress replicas under load, as an upgrade does it."""

from __future__ import annotations

import asyncio

import pytest
from tests.chaos.harness import Load, judged, until_quiet
from tests.integration.egress.bridge import EgressProcess
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(300)]

REPLICAS = 3
CONCURRENCY = 16


async def test_a_rolling_restart_repeats_no_more_than_what_is_in_flight(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    rest.hold = 0.05
    made = await bridge(rest_system(rest, throttle={"concurrency": CONCURRENCY}), partitions=6)
    session = {"LINKSPAN_SESSION_SECONDS": "6"}
    replicas = [EgressProcess(made, (), session) for _ in range(REPLICAS)]
    load = Load(made, 60.0)
    loading = asyncio.create_task(load.run())
    try:
        for replica in replicas:
            await replica.start()
        for number in range(REPLICAS):
            await asyncio.sleep(5)
            assert await replicas[number].stop() == 0
            replicas[number] = EgressProcess(made, (), session)
            await replicas[number].start()
        await asyncio.sleep(5)
        load.stop()
        await loading
        assert await until_quiet(lambda: set(load.sent) <= {got.order for got in rest.got}, 60)
        await made.wait_outcomes(len(load.sent), 60)
    finally:
        loading.cancel()
        for replica in replicas:
            await replica.kill()
    found = judged(load.sent, rest.got, await made.all_outcomes())
    print("\n" + found.line("rolling restart", REPLICAS))
    assert (found.lost, found.unmarked, found.behind, found.twice) == (0, 0, 0, 0)
    assert found.repeated <= REPLICAS * CONCURRENCY
