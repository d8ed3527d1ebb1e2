"""Unfinished messages below finished ones, and offsets that hold no message: the next owner delivers what is left of
them, once, and nothing that was recorded (interleavings 3, 9, 25 and 26 of the design)."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from tests.chaos.fleet import settled_audit
from tests.chaos.harness import Owner, Traps
from tests.chaos.nodes import QUICK
from tests.integration.egress.bridge import FLOW, Bridge, EgressProcess, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import Got, Reply, RestDestination, until

from linkspan.broker import EmbeddedKafka
from linkspan.kernel.topics import egress_group, partition_of

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(400)]

SESSION = 4.0
KEYS, LINES, PARTITIONS = 30, 6, 2
ORDERS = [(order_id(key), line) for line in range(LINES) for key in range(KEYS)]


class Stuck:
    """Answers everything but ``orders``, which it takes and never answers, until it is ``released``."""

    def __init__(self, rest: RestDestination, orders: set[tuple[str, int]]) -> None:
        self._rest, self.orders, self.released = rest, orders, False
        rest.reply = self.reply

    def reply(self, got: Got) -> Reply:
        return "silence" if got.order in self.orders and not self.released else 201

    def behind(self) -> set[tuple[str, int]]:
        """What cannot be delivered meanwhile: these, and what follows them."""
        firsts = dict(sorted(self.orders, reverse=True))
        return {(key, line) for key, line in ORDERS if line >= firsts.get(key, LINES)}

    def release(self) -> None:
        self.released = True


async def append_with_holes(bridge: Bridge, orders: list[tuple[str, int]], size: int = 7) -> None:
    """In transactions, the end of each of which takes an offset of its own."""
    async with AIOKafkaProducer(bootstrap_servers=bridge.bootstrap, transactional_id=bridge.topics.events) as producer:
        for start in range(0, len(orders), size):
            async with producer.transaction():
                for key, line in orders[start : start + size]:
                    value, headers = bridge.event(key, line)
                    partition = partition_of(key.encode(), bridge.partitions)
                    await producer.send_and_wait(bridge.topics.events, value, key.encode(), partition, headers=headers)


def of_each_partition(*shares: float) -> set[tuple[str, int]]:
    """The messages at these shares of each partition's log: 0 is the first one, 1 the last."""
    found = set()
    for partition in range(PARTITIONS):
        log = [one for one in ORDERS if partition_of(one[0].encode(), PARTITIONS) == partition]
        found |= {log[round(share * (len(log) - 1))] for share in shares}
    return found


def owner(bridge: Bridge) -> EgressProcess:
    return EgressProcess(bridge, (), {"LINKSPAN_SESSION_SECONDS": str(SESSION)})


async def killed(bridge: Bridge, first: EgressProcess) -> EgressProcess:
    await first.kill()
    second = owner(bridge)
    await second.start()
    return second


async def killed_three_times(bridge: Bridge, first: EgressProcess) -> EgressProcess:
    """Each owner lives long enough for a checkpoint that holds what it folded."""
    for _ in range(3):
        first = await killed(bridge, first)
        await until(lambda first=first: len(first.lines("partition taken over")) == PARTITIONS, 60)
        await asyncio.sleep(SESSION * 0.4)
    return first


async def revoked(bridge: Bridge, first: EgressProcess) -> EgressProcess:
    """A partition goes to a second member while its attempts are under way; then the first one leaves."""
    second = owner(bridge)
    await second.start()
    await until(lambda: bool(second.lines("partition taken over")), 60)
    assert await first.stop() == 0
    return second


@pytest.mark.parametrize("how", [killed, killed_three_times, revoked])
@pytest.mark.parametrize("shares", [(0,), (0.5,), (0, 0.3, 0.6, 1)], ids=["first", "middle", "several"])
async def test_what_is_unfinished_among_finished_ones_is_all_that_a_next_owner_delivers(
    bridge: MakeBridge, rest: RestDestination, shares: tuple[float, ...], how: Callable[..., Any]
) -> None:
    made = await bridge(rest_system(rest, throttle={"concurrency": 64}), partitions=PARTITIONS)
    stuck = Stuck(rest, of_each_partition(*shares))
    await append_with_holes(made, ORDERS)
    process = owner(made)
    await process.start()
    free = set(ORDERS) - stuck.behind()
    await until(lambda: free | stuck.orders <= {got.order for got in rest.got} | stuck.behind(), 60)
    await made.wait_outcomes(len(free))
    await asyncio.sleep(SESSION * 0.4)
    process = await how(made, process)
    stuck.release()
    await made.wait_outcomes(len(ORDERS), 90)
    await everything_once(made, rest, stuck.orders)
    assert await process.stop() == 0


async def everything_once(made: Bridge, rest: RestDestination, stuck: set[tuple[str, int]]) -> None:
    """By the receiver's record and by the log; only ``stuck`` may have arrived more than once, marked."""
    arrivals = Counter(got.order for got in rest.got)
    assert arrivals.keys() == set(ORDERS)
    assert {order for order, times in arrivals.items() if times > 1} <= stuck
    seen: set[tuple[str, int]] = set()
    for got in rest.got:
        assert got.order not in seen or got.redelivery, got.order
        seen.add(got.order)
    for key in {key for key, _ in ORDERS}:
        lines = [line for got in rest.got for of, line in [got.order] if of == key]
        assert list(dict.fromkeys(lines)) == list(range(LINES))
    recorded = Counter((one["partition"], one["offset"]) for one in await made.outcomes())
    assert set(recorded.values()) == {1}
    said = await settled_audit(made.path, made.bootstrap, 60)
    assert (said["code"], said["flows"][FLOW]["in_flight"]) == (0, 0)
    assert said["flows"][FLOW]["delivered"] == said["flows"][FLOW]["accepted"] == len(ORDERS)


@pytest.mark.parametrize("step", [6, 7, 8])
async def test_an_owner_that_dies_before_its_first_checkpoint_makes_nothing_recorded_void(
    bridge: MakeBridge, rest: RestDestination, step: int
) -> None:
    """The one before it left outcomes that no checkpoint names yet."""
    rest.hold = 0.02
    made = await bridge(rest_system(rest), partitions=PARTITIONS)
    await made.append(*ORDERS)
    process = owner(made)
    await process.start()
    await until(lambda: len(rest.got) > len(ORDERS) // 2)
    await process.kill()
    recorded = {one["messageId"] for one in await made.outcomes()}
    traps = Traps()
    traps.set({"message": "takeover", "step": step})
    short_lived = Owner(made, traps, SESSION)
    await short_lived.start(ready=False)
    await traps.victim(60)
    short_lived.signal(signal.SIGKILL)
    before = len(rest.got)
    process = owner(made)
    await process.start()
    await made.wait_outcomes(len(ORDERS), 60)
    assert 20 < len(recorded) < len(ORDERS)
    assert recorded.isdisjoint(got.id for got in rest.got[before:])
    assert {got.order for got in rest.got} == set(ORDERS)
    assert await process.stop() == 0


async def test_a_group_that_was_empty_for_longer_than_its_offsets_live_goes_on_where_it_was(
    bridge: MakeBridge, rest: RestDestination, own_broker: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    broker = own_broker(
        properties=QUICK | {"offsets.retention.minutes": "1", "offsets.retention.check.interval.ms": "1000"}
    )
    made = await bridge(rest_system(rest), bootstrap=broker.bootstrap, partitions=PARTITIONS)
    half = len(ORDERS) // 2
    await made.append(*ORDERS[:half])
    process = owner(made)
    await process.start()
    await made.wait_outcomes(half)
    assert await process.stop() == 0
    await made.append(*ORDERS[half:])
    assert await offsets(made) > 0
    assert await until_none(lambda: offsets(made), 200)
    process = owner(made)
    await process.start()
    await made.wait_outcomes(len(ORDERS), 60)
    assert await process.stop() == 0
    await everything_once(made, rest, set())


async def offsets(made: Bridge) -> int:
    """How many the group has in Kafka."""
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(egress_group(made.integration.integration, FLOW))
        return len(found)
    finally:
        await admin.close()


async def until_none(count: Callable[[], Any], seconds: float) -> bool:
    """Until there are none."""
    deadline = asyncio.get_running_loop().time() + seconds
    while await count():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(1)
    return True
