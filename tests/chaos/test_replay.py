"""Owners are killed in the middle of a replay: each planned record ends once, and nothing repeats unmarked."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter

import pytest
from tests.integration.egress.bridge import Bridge, EgressProcess, in_order, lines_by_key, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import Got, RestDestination, until
from tests.integration.egress.plans import freeze, start, until_ended
from tests.integration.egress.traffic import traffic

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(900)]

SESSION = 4.0
RECORDS = int(os.environ.get("CHAOS_MESSAGES", "5000"))
KILLS = 3
KEYS = 200


async def test_killed_three_times_each_planned_record_ends_once(bridge: MakeBridge, rest: RestDestination) -> None:
    """Two replicas; each kill hits one that has just sent, and another takes its partitions over."""
    made = await bridge(rest_system(rest), partitions=4)
    owners = [owner(made) for _ in range(2)]
    await asyncio.gather(*(one.start() for one in owners))
    try:
        await made.append(*((order_id(number % KEYS), number // KEYS) for number in range(RECORDS)))
        await made.wait_outcomes(RECORDS, 300)
        first = len(rest.got)
        plan = await freeze(made)
        rest.hold = 0.01
        await start(made, plan, force=True, rate=RECORDS / 40, yield_lag=0, abort_on_breaker=False)
        async with traffic(made) as live:
            for kill in range(1, KILLS + 1):
                await until(lambda kill=kill: replayed(rest, plan) >= RECORDS * kill // (KILLS + 1), 300)  # type: ignore[misc]
                victim = random.randrange(2)
                await owners[victim].kill()
                owners[victim] = owner(made)
                await owners[victim].start(ready=False)
            found = await until_ended(made, plan, 400)
        sent = len(live.sent)
        await until(lambda: sum(1 for got in rest.got[first:] if not got.replay) >= sent, 60)
    finally:
        await asyncio.gather(*(one.kill() for one in owners))
    again = [got for got in rest.got[first:] if got.replay]
    repeats = [got for got in again[1:] if got.redelivery]
    print("\ndispositions:", dict(found.counts), "| sent:", len(again), "| marked:", len(repeats), "| live:", sent)
    assert found.phase == "completed"
    assert found.counts == {"delivered": RECORDS}
    assert not {where: kinds for where, kinds in found.ended.items() if len(kinds) != 1}, "one disposition each"
    assert unmarked(again) == []
    assert all(in_order(lines) for lines in lines_by_key([got.order for got in again]).values())
    assert {got.id for got in again} == {got.id for got in rest.got[:first]}
    assert len({got.id for got in again}) == RECORDS
    assert sum(count - 1 for count in Counter(got.id for got in again).values()) <= KILLS * 16, "those in flight"


def owner(made: Bridge) -> EgressProcess:
    return EgressProcess(made, (), {"LINKSPAN_SESSION_SECONDS": str(SESSION)})


def replayed(rest: RestDestination, plan: str) -> int:
    return sum(1 for got in rest.got if got.replay == plan)


def unmarked(again: list[Got]) -> list[Got]:
    """Repeats that do not say that they may be some."""
    seen: set[str] = set()
    found = []
    for got in again:
        if got.id in seen and not got.redelivery:
            found.append(got)
        seen.add(got.id)
    return found
