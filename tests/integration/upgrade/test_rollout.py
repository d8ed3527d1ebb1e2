"""A rollout moves partitions from one version to another by percent, loses nothing, and goes back by itself."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import groupby
from typing import Any

import pytest
import yaml
from tests.integration.cli.operator import Done, Operator
from tests.integration.egress.bridge import FLOW, Bridge, in_order, lines_by_key
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import Got, RestDestination, until, until_async
from tests.integration.egress.traffic import Traffic, traffic
from tests.integration.upgrade.versions import VersionedEgress

from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.topics import egress_group

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(480)]
OLD, NEW = "0.9.0", "1.0.0"
PARTITIONS = 4
QUICK = ("--stages", "10,50,100", "--stay", "20s", "--watch", "5s", "--patience", "40s")
BROKEN = "{'orderId': orderId, 'line': 'no number', 'text': text}"


class Driver:
    """``linkspan rollout start`` as a process of its own."""

    def __init__(self, made: Bridge, *arguments: str) -> None:
        self.lines: list[str] = []
        self._operator, self._arguments = Operator(made, ""), (str(made.path), "--to", NEW, *arguments)

    async def start(self) -> None:
        command = (sys.executable, "-u", "-m", "linkspan", "rollout", "start", *self._arguments)
        self._process = await self._operator.started(*command)
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout
        async for line in self._process.stdout:
            self.lines.append(line.decode().rstrip())

    async def says(self, text: str) -> None:
        await until(lambda: any(text in line for line in self.lines), 120)

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def ended(self) -> int:
        code = await asyncio.wait_for(self._process.wait(), 180)
        await self._reading
        return code


@asynccontextmanager
async def running(*processes: VersionedEgress) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for process in processes:
            stack.push_async_callback(process.kill)
            await process.start()
        yield


@asynccontextmanager
async def driving(made: Bridge, *arguments: str) -> AsyncIterator[Driver]:
    """Once somebody says that it delivers."""
    driver = Driver(made, *arguments)
    await until_async(lambda: delivers(made))
    await driver.start()
    try:
        yield driver
    finally:
        await driver.kill()


async def delivers(made: Bridge) -> dict[str, Any]:
    done = await Operator(made, "")("rollout", "status", str(made.path), "--output", "json")
    found: dict[str, Any] = done.json["delivers"][FLOW]
    return {version: numbers for version, numbers in found.items() if numbers}


def assigned(process: VersionedEgress) -> list[list[int]]:
    """What it was given, one after another; the same again counts once."""
    given = [line["partitions"] for line in process.lines("partitions assigned") if line["partitions"]]
    return [one for one, _ in groupby(given)]


async def said(made: Bridge, *arguments: str) -> Done:
    return await Operator(made, "")("rollout", arguments[0], str(made.path), *arguments[1:])


async def settled(made: Bridge, expected: dict[str, list[int]]) -> None:
    found: dict[str, Any] = {}
    for _ in range(60):
        if (found := await delivers(made)) == expected:
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"{found} instead of {expected}")


def check_arrivals(got: list[Got], load: Traffic) -> None:
    """All of it, in order, and what came twice was marked."""
    counted: dict[str, set[int]] = defaultdict(set)
    for key, line in load.sent:
        counted[key].add(line)
    by_key = lines_by_key([one.order for one in got])
    assert {key: set(lines) for key, lines in by_key.items()} == dict(counted)
    assert all(in_order(lines) for lines in by_key.values())
    seen: set[str] = set()
    for one in got:
        assert one.id not in seen or one.redelivery, one
        seen.add(one.id)


async def test_partitions_go_over_by_percent_under_load_and_nothing_is_lost(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), partitions=PARTITIONS)
    old, new = VersionedEgress(made, OLD), VersionedEgress(made, NEW)
    async with (
        running(old, VersionedEgress(made, OLD)),
        traffic(made, keys=24) as load,
        driving(made, *QUICK) as driver,
    ):
        await driver.says(f"waiting for an egress replica of {NEW}")
        await until(lambda: bool(old.lines("joining again")), 60)
        async with running(new):
            assert new.lines("partitions assigned")[0]["partitions"] in ([], [0])
            await driver.says("10 %: partitions of orders 1 of 4")
            await settled(made, {OLD: [1, 2, 3], NEW: [0]})
            await driver.says("50 %: partitions of orders 2 of 4")
            await settled(made, {OLD: [2, 3], NEW: [0, 1]})
            await driver.says("100 %: partitions of orders 4 of 4")
            assert await driver.ended() == 0, driver.lines
            assert assigned(new) == [[0], [0, 1], [0, 1, 2, 3]]
            await settled(made, {NEW: [0, 1, 2, 3]})
            assert f"{NEW} delivers everything" in driver.lines[-1]
            await until(lambda: len(rest.got) > 200, 60)
            await load.end()
            await made.wait_outcomes(len(load.sent), 120, kinds=("delivered",))
            assert "versions count no more" in (await said(made, "finish", "--reason", "it is well")).out
            await until(lambda: len(old.lines("partitions assigned")[-1]["partitions"]) > 0, 60)
    check_arrivals(rest.got, load)


async def test_a_version_that_does_worse_is_stopped_by_itself_and_the_old_one_delivers_everything(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), partitions=PARTITIONS)
    spec = yaml.safe_load(made.path.read_text())
    spec["flows"][FLOW]["transform"] = [{"jsonata": BROKEN}]
    broken = made.path.parent / "next.yaml"
    broken.write_text(yaml.safe_dump(spec))
    old, new = VersionedEgress(made, OLD), VersionedEgress(Bridge(broken, made.bootstrap), NEW)
    async with (
        running(old),
        traffic(made, keys=24) as load,
        driving(made, "--stages", "50,100", "--stay", "10m") as driver,
    ):
        await driver.says("waiting for")
        async with running(new):
            assert await driver.ended() == 1
            assert "were errors" in driver.lines[-1]
            assert f"of {OLD} 0 of" in driver.lines[-1]
            await settled(made, {OLD: [0, 1, 2, 3]})
            again = Driver(made)
            await again.start()
            assert await again.ended() == 2
            status = await said(made, "status", "--output", "json")
            assert status.json["rollout"]["state"] == "stopped"
            shown = await Operator(made, old.control)("status")
            assert f"rollout from {OLD} to {NEW}: 0 %, stopped by linkspan rollout: of what" in shown.out
            await load.end()
            redriven = await Operator(made, old.control)(
                "redrive", "--flow", FLOW, "--all", "--yes", "--reason", "mended"
            )
            assert redriven.code == 0, redriven
            await made.wait_outcomes(len(load.sent), 120, kinds=("delivered",))
    check_arrivals(rest.got, load)


async def test_a_driver_that_is_killed_goes_on_where_it_was_and_one_without_replicas_stops(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), partitions=PARTITIONS)
    old, new = VersionedEgress(made, OLD), VersionedEgress(made, NEW)
    async with running(old), traffic(made, keys=24) as load:
        async with running(new):
            async with driving(made, "--stages", "25,75,100", "--stay", "8s", "--patience", "40s") as driver:
                await driver.says("75 %: partitions of orders 3 of 4")
                await driver.kill()
            await settled(made, {OLD: [3], NEW: [0, 1, 2]})
            async with driving(made, "--stages", "1,100", "--stay", "1s") as second:
                await second.says("75 %: partitions of orders 3 of 4")
                await second.says("100 %: partitions of orders 4 of 4")
                await settled(made, {NEW: [0, 1, 2, 3]})
                await new.kill()
                assert await second.ended() == 1
        assert f"{NEW} does not deliver orders 0-3" in second.lines[-1]
        await settled(made, {OLD: [0, 1, 2, 3]})
        await load.end()
        await made.wait_outcomes(len(load.sent), 120, kinds=("delivered",))
    check_arrivals(rest.got, load)


async def test_a_rollout_does_not_begin_beside_a_replica_that_knows_none(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), partitions=PARTITIONS)
    group = egress_group(made.integration.integration, FLOW)
    plain = KafkaClients(made.bootstrap).group(group)
    old = VersionedEgress(made, OLD)
    async with running(old):
        plain.subscribe([made.topics.events])
        await plain.start()
        try:
            refused = await said(made, "start", "--to", NEW)
        finally:
            await plain.stop()
        assert (refused.code, refused.out) == (2, "")
        assert "orders: a replica knows no rollouts" in refused.err
        none = await said(made, "start", "--to", OLD)
        assert f"egress of one version other than {OLD} has to deliver now; there is none" in none.err
        finished = await said(made, "finish", "--reason", "why")
        assert (finished.code, finished.err) == (1, "linkspan: no rollout is in force\n")


async def test_a_version_whose_destination_is_away_for_it_alone_is_stopped(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), partitions=PARTITIONS)
    spec = yaml.safe_load(made.path.read_text())
    spec["systems"]["store"]["url"] = "http://127.0.0.1:9"
    elsewhere = made.path.parent / "next.yaml"
    elsewhere.write_text(yaml.safe_dump(spec))
    old, new = VersionedEgress(made, OLD), VersionedEgress(Bridge(elsewhere, made.bootstrap), NEW)
    async with (
        running(old),
        traffic(made, keys=24) as load,
        driving(made, "--stages", "50,100", "--stay", "10m", "--patience", "20s", "--flow", FLOW) as driver,
    ):
        await driver.says("waiting for")
        async with running(new):
            assert await driver.ended() == 1
            assert f"the breaker of orders is open in {NEW} alone" in driver.lines[-1]
            await settled(made, {OLD: [0, 1, 2, 3]})
            await load.end()
            await made.wait_outcomes(len(load.sent), 120, kinds=("delivered",))
    check_arrivals(rest.got, load)
