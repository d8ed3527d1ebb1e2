"""Owners stopped (SIGSTOP) for longer than their session, at each step of a takeover and between any two writes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.harness import Load, Owner, Traps, Verdict, judged, until_quiet
from tests.integration.egress.bridge import Bridge, write_integration
from tests.integration.egress.conftest import rest_system
from tests.integration.egress.destinations import RestDestination

from linkspan.broker import EmbeddedKafka

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(3600)]

SESSION = float(os.environ.get("CHAOS_SESSION", "4"))
REPEATS = int(os.environ.get("CHAOS_REPEATS", "1"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
RATE = 40.0
#: Seconds that the receiver takes for its answer: the longer, the more is in flight when an owner is stopped.
HOLD = float(os.environ.get("CHAOS_HOLD", "0.02"))
#: Where an owner is stopped: a line of its log, told apart by these of its fields.
TAKEOVER = [{"message": "takeover", "step": step} for step in range(1, 9)] + [{"message": "partition taken over"}]
WRITES: list[dict[str, Any]] = [
    {"message": "attempt"},
    {"message": "outcomes appended"},
    *({"message": "transaction", "at": at} for at in ("begun", "sent", "committed")),
    {"message": "group commit"},
]


class Site:
    def __init__(self, bridge: Bridge, receiver: RestDestination) -> None:
        self.bridge, self.receiver = bridge, receiver
        self.traps = Traps()
        self.load = Load(bridge, RATE)
        self.owners: list[Owner] = []
        self.faults = 0

    async def join(self) -> None:
        owner = Owner(self.bridge, self.traps, SESSION)
        self.owners.append(owner)
        await owner.start()

    async def verdict(self, what: str) -> Verdict:
        """Lets everything arrive first."""
        self.load.stop()
        await asyncio.sleep(2)
        wanted = set(self.load.sent)
        await until_quiet(lambda: wanted <= {got.order for got in self.receiver.got}, 90)
        await asyncio.sleep(2 * SESSION)
        found = judged(self.load.sent, self.receiver.got, await self.bridge.all_outcomes())
        print("\n| what | messages | faults | lost | repeated | unmarked | out of order | void | twice |")
        print(found.line(what, self.faults))
        return found


@asynccontextmanager
async def site(folder: Path, bootstrap: str) -> AsyncIterator[Site]:
    receiver = await RestDestination(hold=HOLD).start()
    bridge = Bridge(write_integration(folder, rest_system(receiver), partitions=2), bootstrap)
    await bridge.create_topics()
    made = Site(bridge, receiver)
    loading = asyncio.create_task(made.load.run())
    try:
        yield made
    finally:
        loading.cancel()
        for owner in made.owners:
            owner.signal(signal.SIGCONT)
            await owner.kill()
        await receiver.stop()


def broker(own_broker: Callable[..., EmbeddedKafka]) -> EmbeddedKafka:
    return own_broker(properties={"group.min.session.timeout.ms": "1000"})


async def test_owners_stopped_at_each_step_and_write_lose_nothing_and_keep_order(
    tmp_path: Path, own_broker: Callable[..., EmbeddedKafka]
) -> None:
    rng = random.Random(SEED)
    async with site(tmp_path, broker(own_broker).bootstrap) as made:
        await made.join()
        await made.join()
        stopped: Owner | None = None
        for point in [point for _ in range(REPEATS) for point in TAKEOVER + WRITES]:
            made.traps.set(point, skip=rng.randrange(2) if point in TAKEOVER else rng.randrange(30))
            if stopped is None:
                await made.join()  # any rebalance will do
            else:
                stopped.signal(signal.SIGCONT)
            stopped = await made.traps.victim(60)
            made.faults += 1
            before = len(made.receiver.got)
            await asyncio.sleep(SESSION * rng.uniform(1.5, 2.0))
            print(point, "others delivered meanwhile:", len(made.receiver.got) - before)
        assert stopped is not None
        stopped.signal(signal.SIGCONT)
        found = await made.verdict(f"SIGSTOP, session {SESSION} s")
    assert (found.lost, found.unmarked, found.behind, found.twice) == (0, 0, 0, 0)
    assert found.repeated <= 12 * made.faults


async def test_a_broker_away_longer_than_every_timeout_costs_nothing(
    tmp_path: Path, own_broker: Callable[..., EmbeddedKafka]
) -> None:
    """Longer than the session, a transaction's limit and an append's."""
    kafka = broker(own_broker)
    async with site(tmp_path, kafka.bootstrap) as made:
        await made.join()
        await made.join()
        await asyncio.sleep(5)
        await asyncio.to_thread(kafka.kill)
        made.faults += 1
        await asyncio.sleep(float(os.environ.get("CHAOS_AWAY", "30")))
        await asyncio.to_thread(kafka.start)
        before = len(made.receiver.got)
        assert await until_quiet(lambda: len(made.receiver.got) > before + 100, 90)
        found = await made.verdict("broker away")
    assert (found.lost, found.unmarked, found.behind, found.twice) == (0, 0, 0, 0)
    assert found.repeated <= 12
