"""The poller's feed keeps the system's rate."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from tests.integration.ingress.feed_server import feed_server

from linkspan.ingress.accept.feed import Feed
from linkspan.kernel.errors import RateLimited
from linkspan.kernel.resilience.limits import Limits
from linkspan.kernel.spec import Poll, System
from linkspan.kernel.telemetry.metrics import RATE_LIMITS


async def test_pages_are_asked_for_at_the_rate_of_the_system_and_a_429_is_counted() -> None:
    async with feed_server() as server:
        facts = {"kind": "rest", "url": f"http://127.0.0.1:{server.port}", "auth": {"api_key": "s"}}
        system = System.model_validate(facts | {"throttle": {"rate": "5/s"}})
        feed = Feed(system, Poll(path="/v1/changes"), 100_000, Limits.of("a-feed", system))
        loop = asyncio.get_running_loop()
        try:
            began = loop.time()
            for _ in range(6):
                await feed.page("0")
            assert loop.time() - began > 5 / 5 - 0.1
            # A page that itself takes as long is not held back.
            assert RATE_LIMITS.labels("a-feed", "applied")._value.get() >= 1
            server.answers.append(web.json_response({}, status=429, headers={"Retry-After": "7"}))
            with pytest.raises(RateLimited) as met:
                await feed.page("0")
            assert met.value.retry_after == 7
            assert RATE_LIMITS.labels("a-feed", "met")._value.get() == 1
        finally:
            await feed.close()
