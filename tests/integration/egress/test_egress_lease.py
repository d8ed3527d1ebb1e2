"""An attempt is over before another owner may begin, whatever it is busy with (interleaving 2)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from tests.integration.egress.bridge import lines_by_key, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.contract.test_adapters import Harness, delivery
from tests.integration.egress.destinations import RestDestination, until

from linkspan.egress.deliver.rest import RestAdapter
from linkspan.egress.partition.answer import Withheld
from linkspan.kernel.errors import Unavailable
from linkspan.kernel.spec import Deliver, System

GRANT = {"token_url": "/oauth/token", "client_id": "us", "client_secret": "s3cret"}


class SlowTokens(RestDestination):
    """Its first token is given when ``given`` is set."""

    def __init__(self) -> None:
        super().__init__(bearer=True)
        self.given = asyncio.Event()
        self.asked = 0

    async def _token(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.asked == 1:
            await self.given.wait()
        return await super()._token(request)


@pytest.fixture
async def slow() -> AsyncIterator[SlowTokens]:
    destination = SlowTokens()
    await destination.start()
    yield destination
    destination.given.set()
    await destination.stop()


@pytest.fixture
async def harness(slow: SlowTokens) -> AsyncIterator[Harness]:
    made = Harness("rest")
    made.destination = slow
    facts: dict[str, Any] = {"kind": "rest", "url": slow.url, "auth": {"oauth2": GRANT}, "timeout": 6}
    made.adapter = RestAdapter(System.model_validate(facts), Deliver())
    await made.adapter.open()
    yield made
    await made.adapter.close()


async def test_a_token_that_takes_longer_than_the_attempt_may_ends_the_attempt_and_serves_the_next(
    harness: Harness, slow: SlowTokens
) -> None:
    error = await harness.answer(delivery(1))
    assert type(error) is Unavailable, "nothing was sent, so the next one is no redelivery"
    slow.given.set()
    assert await harness.answer(delivery(1, attempt=2)) is None
    assert slow.asked == 1


async def test_a_second_try_with_another_token_is_part_of_the_same_attempt(harness: Harness, slow: SlowTokens) -> None:
    slow.given.set()
    assert await harness.answer(delivery(1)) is None
    slow.refused_tokens |= {f"token-{number}" for number in range(10)}
    slow.asked = 0
    slow.given.clear()
    assert await harness.answer(delivery(2)) is not None
    assert slow.asked == 1, "it ends while it waits for this one"


async def test_a_lease_that_ends_while_a_token_is_fetched_is_seen_before_the_request_is_written(
    harness: Harness, slow: SlowTokens
) -> None:
    mine = True
    harness.submit(delivery(1, may_go=lambda: mine))
    await until(lambda: slow.asked == 1)
    mine = False
    slow.given.set()
    assert [type(error) for error in await harness.wait(1)] == [Withheld]
    assert slow.got == []


@pytest.mark.kafka
async def test_an_owner_that_sleeps_over_its_lease_before_the_request_does_not_send_it(
    bridge: MakeBridge, slow: SlowTokens
) -> None:
    system = rest_system(slow, auth={"oauth2": GRANT}, timeout="10s")
    made = await bridge(system, partitions=1)
    await made.append((order_id(1), 0), (order_id(1), 1))
    async with made.egress(LINKSPAN_SESSION_SECONDS="6") as first:
        await until(lambda: slow.asked == 1)
        first._process.send_signal(signal.SIGSTOP)
        try:
            async with made.serving():
                await made.wait_outcomes(2, seconds=60)
                slow.given.set()
                await asyncio.sleep(0.3)
                first._process.send_signal(signal.SIGCONT)
                await asyncio.sleep(3)
        finally:
            first._process.send_signal(signal.SIGCONT)
        assert lines_by_key([got.order for got in slow.got]) == {order_id(1): [0, 1]}
