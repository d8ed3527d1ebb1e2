"""Client credentials: one token for many requests, renewed in time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.integration.egress.contract.test_adapters import Harness, delivery
from tests.integration.egress.destinations import RestDestination

from linkspan.egress.deliver.rest import RestAdapter
from linkspan.kernel.errors import Unavailable
from linkspan.kernel.http.oauth2 import TokenSource
from linkspan.kernel.spec import Deliver, OAuth2, System

GRANT = {"token_url": "/oauth/token", "client_id": "us", "client_secret": "s3cret", "scope": "results.write"}


@pytest.fixture
async def harness(rest: RestDestination) -> AsyncIterator[Harness]:
    made = Harness("rest")
    made.destination, rest.bearer = rest, True
    system = System.model_validate({"kind": "rest", "url": rest.url, "auth": {"oauth2": GRANT}})
    made.adapter = RestAdapter(system, Deliver())
    await made.adapter.open()
    yield made
    await made.adapter.close()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_requests_at_the_same_time_and_after_share_one_token(harness: Harness, rest: RestDestination) -> None:
    harness.submit(*(delivery(number) for number in range(16)))
    assert await harness.wait(16) == [None] * 16
    assert await harness.answer(delivery(17)) is None
    assert rest.tokens == ["token-1"]


async def test_a_token_that_is_refused_is_replaced_once_and_the_message_delivered(
    harness: Harness, rest: RestDestination
) -> None:
    await harness.answer(delivery(1))
    rest.refused_tokens.add("token-1")
    assert await harness.answer(delivery(2)) is None
    assert rest.tokens == ["token-1", "token-2"]
    rest.refused_tokens |= {f"token-{number}" for number in range(10)}
    error = await harness.answer(delivery(3))
    assert type(error) is Unavailable
    assert rest.tokens == ["token-1", "token-2", "token-3"]


@pytest.mark.parametrize(("lifetime", "renewed_after"), [(3600, 3570), (20, 16)])
async def test_a_token_is_renewed_before_it_expires(
    rest: RestDestination, lifetime: float, renewed_after: float
) -> None:
    rest.lifetime, clock = lifetime, Clock()
    async with aiohttp.ClientSession() as session:
        source = TokenSource(session, OAuth2.model_validate(GRANT), rest.url, clock)
        assert await source.token() == "token-1"
        clock.now += renewed_after - 0.1
        assert source.current() == await source.token() == "token-1"
        clock.now += 0.2
        assert source.current() is None
        assert await source.token() == "token-2"


async def test_while_no_new_token_is_given_the_old_one_is_used_until_it_expires(rest: RestDestination) -> None:
    rest.lifetime, clock = 100, Clock()
    async with aiohttp.ClientSession() as session:
        source = TokenSource(session, OAuth2.model_validate(GRANT), rest.url, clock)
        await source.token()
        rest.token_status = 500
        clock.now += 90
        assert await source.token() == "token-1"
        clock.now += 11
        with pytest.raises(Unavailable, match="answered 500 invalid_client"):
            await source.token()


async def test_no_token_is_an_outage_that_tells_no_secret(harness: Harness, rest: RestDestination) -> None:
    rest.token_status = 401
    error = await harness.answer(delivery(1))
    assert type(error) is Unavailable
    assert "401 invalid_client" in error.reason
    assert "s3cret" not in error.reason
    assert rest.got == []
