"""A batch counts as one request of those that may be under way at once."""

from __future__ import annotations

import asyncio

from linkspan.kernel.resilience.limits import Limits


def test_a_batch_is_one_request_whatever_is_in_it() -> None:
    limits = Limits("store", None, 2)
    assert limits.budget(0.0, 1_000, 100) == 200
    for _ in range(150):
        limits.begin(100)
    assert limits.budget(0.0, 1_000, 100) == 50
    assert limits.budget(0.0, 10) == 0, "both requests are taken"
    for _ in range(50):
        limits.end(100)
    assert limits.budget(0.0, 10) == 1
    limits.begin()
    assert limits.budget(0.0, 1_000, 100) == 0
    for _ in range(100):
        limits.end(100)
    limits.end()
    assert limits.budget(0.0, 10) == 2


async def test_who_waits_for_a_turn_is_woken_whatever_a_batch_was_given_meanwhile() -> None:
    limits = Limits("store", None, 2)
    limits.begin()
    for _ in range(3):
        limits.begin(10)
    entered = asyncio.Event()

    async def asks() -> None:
        async with limits.turn():
            entered.set()

    asking = asyncio.create_task(asks())
    await asyncio.sleep(0)
    assert limits.budget(0.0, 17, 10) == 7, "there is room in the batch that is open"
    limits.end()
    await asyncio.wait_for(entered.wait(), 5)
    await asking
