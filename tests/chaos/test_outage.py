"""A destination that is away for an hour, shortened by configuration: the pauses' cap is a sixtieth of the default, and
so is the outage; sessions are a fifth."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest
from tests.chaos.fleet import settled_audit
from tests.integration.egress.bridge import FLOW, Bridge, in_order, lines_by_key, order_id, write_integration
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import Reply, RestDestination
from tests.kafka_fixture import Kafka

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(600)]

SESSION = 3.0
#: Seconds of each way to be away: nobody listens, all are told "later", nobody answers, connections are cut.
WAYS: list[tuple[Reply, float]] = [("nobody", 20), (503, 15), ("silence", 15), ("cut", 10)]
KEYS, LINES = 40, 50
ORDERS = [(order_id(key), line) for line in range(LINES) for key in range(KEYS)]


async def test_after_an_hour_without_its_destination_all_is_delivered_and_no_attempt_was_spent(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest, retry={"attempts": 3, "first": "100ms", "cap": "1s"}), partitions=4)
    await rest.stop()
    async with made.egress(LINKSPAN_SESSION_SECONDS=str(SESSION)) as process:
        await made.append(*ORDERS[: len(ORDERS) // 2])
        await away(rest)
        rest.reply = lambda _got: 201
        await made.append(*ORDERS[len(ORDERS) // 2 :])
        outcomes = await made.wait_outcomes(len(ORDERS), 120)
        assert len(process.lines("partitions assigned")) == 1
        assert not process.lines("partition dropped")
        assert not process.lines("not a member")
    assert {one["kind"] for one in outcomes} == {"delivered"}
    assert {got.body["metadata"]["retryCount"] for got in rest.got} == {0}
    lines = lines_by_key([got.order for got in rest.got])
    assert all(in_order(of_key) and set(of_key) == set(range(LINES)) for of_key in lines.values())
    assert len(lines) == KEYS
    found = (await settled_audit(made.path, made.bootstrap))["flows"][FLOW]
    assert (found["delivered"], found["dead_lettered"], found["balanced"]) == (len(ORDERS), 0, True)


async def away(rest: RestDestination) -> None:
    """In every way; then it is back."""
    for reply, seconds in WAYS:
        rest.reply = lambda _got, reply=reply: reply
        if reply == 503:
            await rest.start()
        await asyncio.sleep(seconds)


async def test_memory_with_a_backlog_of_50000_is_that_with_5000(
    kafka: Kafka, rest: RestDestination, tmp_path: Path
) -> None:
    """Of an egress process whose destination is away, when it has read all that it will read."""
    await rest.stop()
    found = {}
    for backlog in (5_000, 50_000):
        made = Bridge(write_integration(tmp_path / str(backlog), rest_system(rest), partitions=8), kafka.bootstrap)
        await made.create_topics()
        await made.append(*((order_id(n % 5_000), n // 5_000) for n in range(backlog)))
        found[backlog] = min([await resident(made) for _ in range(2)])
    print("\nresident MiB by backlog:", {backlog: round(size / 2**20, 1) for backlog, size in found.items()})
    assert found[50_000] < 1.1 * found[5_000]


async def resident(made: Bridge) -> int:
    """The largest of ten looks in as many seconds."""
    async with made.egress() as process:
        await asyncio.sleep(20)
        sizes = []
        for _ in range(10):
            sizes.append(psutil.Process(process.pid).memory_info().rss)
            await asyncio.sleep(1)
        return max(sizes)
