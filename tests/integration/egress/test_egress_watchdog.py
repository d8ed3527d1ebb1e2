"""A consumer that could go on and does not ends its process; one that waits for good reason does not."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.integration.egress.bridge import order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until

from linkspan.egress.flow import FlowService
from linkspan.egress.own.watchdog import Stalled, Watchdog

pytestmark = pytest.mark.kafka
LIMIT = 2.0


def watched(service: FlowService) -> asyncio.Task[None]:
    return asyncio.create_task(Watchdog("orders", service.member, service.pipeline, LIMIT).run())


async def test_lag_without_progress_ends_the_process(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest))
    async with made.serving() as service:
        await made.append((order_id(1), 0))
        await made.wait_outcomes(1)
        task = watched(service)
        await asyncio.sleep(2 * LIMIT)
        assert not task.done(), "nothing to do is no stall"
        service.pipeline._scheduled = True  # a wake-up that was lost, as a mistake of ours would lose it
        await made.append((order_id(1), 1))
        with pytest.raises(Stalled, match=r"flow orders, partition .*: 1 messages and no progress for"):
            await asyncio.wait_for(task, 10 * LIMIT)
        service.pipeline._scheduled = False


async def test_a_process_that_stood_still_for_longer_may_show_first_that_it_goes_on(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest))
    async with made.serving() as service:
        await until(lambda: len(service.member.partitions) == made.partitions)
        watchdog = Watchdog("orders", service.member, service.pipeline, LIMIT)
        service.pipeline._scheduled = True  # so that the message is there before and after
        await made.append((order_id(1), 0))
        await until(lambda: any(owner.state.unfinished for owner in service.member.owners()))
        await watchdog.look()
        time.sleep(2 * LIMIT)  # noqa: ASYNC251 - the process stands still
        await watchdog.look()
        service.pipeline._scheduled = False
        service.pipeline.wake()
        await made.wait_outcomes(1)
        await watchdog.look()


async def test_a_destination_that_is_away_is_no_stall(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest))
    await made.append(*((order_id(n), 0) for n in range(20)))
    rest.reply = lambda _got: 503
    async with made.serving() as service:
        await until(lambda: len(service.member.partitions) == made.partitions)
        task = watched(service)
        await asyncio.sleep(4 * LIMIT)
        assert not task.done()
        rest.reply = lambda _got: 201
        await made.wait_outcomes(20)
        await until(lambda: not task.done())
        task.cancel()
