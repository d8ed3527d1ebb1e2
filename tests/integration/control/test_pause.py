"""Pause and resume, in all replicas, across kills."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.integration.control.client import Caller, calling
from tests.integration.egress.bridge import Bridge, EgressProcess, in_order, lines_by_key, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until

from linkspan.control.v1 import commands_pb2, status_pb2

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]
KEYS = 40
#: After the answer to a pause nothing may be sent later than so many seconds: a second is promised, and CI is slow.
STOPS_WITHIN = 2.0
SESSION = {"LINKSPAN_SESSION_SECONDS": "6"}


class Load:
    """Appends orders of ``KEYS`` keys until stopped; ``lines``: how many of each."""

    def __init__(self, made: Bridge) -> None:
        self._made, self.lines, self._stop = made, 0, False

    async def run(self) -> None:
        while not self._stop:
            await self._made.append(*[(order_id(key), self.lines) for key in range(KEYS)])
            self.lines += 1
            await asyncio.sleep(0.05)

    def stop(self) -> None:
        self._stop = True


class Arrivals:
    """When each delivery came, by the receiver's clock, which is the test's."""

    def __init__(self, rest: RestDestination) -> None:
        self.at: list[float] = []
        rest.reply = self._take

    def _take(self, _got: object) -> int:
        self.at.append(time.monotonic())
        return 201

    def after(self, moment: float) -> list[float]:
        return [at - moment for at in self.at if at > moment]


async def sent_at(made: Bridge, rest: RestDestination) -> list[float]:
    """Of all that came, as its owners say: what arrives is bunched where this process stands still."""
    outcomes = await made.wait_outcomes(len({got.id for got in rest.got}))
    return [one["sentAt"] / 1e6 for one in outcomes if one["sentAt"]]


def token(made: Bridge) -> str:
    return (made.path.parent / "data" / "control" / "token").read_text().strip()


@asynccontextmanager
async def fleet(made: Bridge, count: int) -> AsyncIterator[list[EgressProcess]]:
    processes = [EgressProcess(made, (), SESSION) for _ in range(count)]
    await asyncio.gather(*(process.start() for process in processes))
    try:
        yield processes
    finally:
        await asyncio.gather(*(process.kill() for process in processes))


async def owned_by_all(caller: Caller, count: int) -> None:
    async with asyncio.timeout(150):
        while True:
            status = await caller("GetStatus", status_pb2.GetStatusRequest())
            owners = [one for one in status.replicas if one.partitions]
            if len(owners) == count and status.flows[0].owned == status.flows[0].partitions:
                return
            await asyncio.sleep(0.5)


@pytest.mark.thorough
async def test_a_pause_stops_all_replicas_within_a_second_outlives_their_death_and_loses_nothing(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), partitions=6)
    arrivals, load = Arrivals(rest), Load(made)
    loading = asyncio.create_task(load.run())
    async with fleet(made, 3) as processes, calling(processes[1].control, token(made)) as caller:
        await owned_by_all(caller, 3)
        await until(lambda: len(arrivals.at) > 1_000, 120)
        asked = time.time()
        command = await caller.pause(reason="the store is painted")
        answered = time.time()
        assert (command.result, command.effective, command.role) == ("paused", True, "admin")
        await asyncio.sleep(4)
        sent = await sent_at(made, rest)
        late = [at - answered for at in sent if at > answered]
        assert not [after for after in late if after > STOPS_WITHIN]
        last = max(sent) - asked
        print(
            f"answered after {answered - asked:.3f} s, last delivery {last:.3f} s after it was asked, "
            f"{len(late)} after the answer; load average {os.getloadavg()[0]:.1f}"
        )
        await asyncio.gather(*(process.kill() for process in processes))
    died = time.monotonic()
    load.stop()
    await loading
    async with fleet(made, 3) as processes, calling(processes[0].control, token(made)) as caller:
        await owned_by_all(caller, 3)
        status = await caller("GetStatus", status_pb2.GetStatusRequest(flow="orders"))
        flow = status.flows[0]
        assert (flow.paused, flow.paused_by, flow.paused_reason) == (True, "local", "the store is painted")
        await asyncio.sleep(2)
        assert not arrivals.after(died), "paused also for those that were not there"
        assert flow.window > 0
        again = await caller.pause()
        assert (again.result, again.effective) == ("was paused already by local", False)
        assert (await caller.resume()).result == "resumed"
        await until(lambda: len({got.order for got in rest.got}) == KEYS * load.lines, 200)
    delivered = lines_by_key([got.order for got in rest.got])
    assert {key: sorted(set(lines)) for key, lines in delivered.items()} == {
        order_id(key): list(range(load.lines)) for key in range(KEYS)
    }
    assert all(in_order(lines) for lines in delivered.values())


async def test_a_paused_sender_is_told_of_its_dead_letters_when_it_is_resumed(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    """And what others deliver goes on."""
    rest.reply = lambda got: 422 if "refusals" not in got.path and got.order[1] == 1 else 201
    notices = {"method": "PUT", "path": "/refusals/{messageId}"}
    made = await bridge(rest_system(rest), shop={"kind": "rest", "url": rest.url}, refusal=notices)

    async def told(what: str, caller: Caller) -> None:
        target = commands_pb2.Target(destination="shop")
        await caller(what, getattr(commands_pb2, f"{what}Request")(target=target, reason="to see"))

    async with made.egress() as process, calling(process.control, token(made)) as caller:
        await told("Pause", caller)
        await made.append((order_id(1), 0), (order_id(1), 1))
        await made.wait_outcomes(2)
        await asyncio.sleep(2)
        assert not [got for got in rest.got if "refusals" in got.path]
        await told("Resume", caller)
        await until(lambda: any("refusals" in got.path for got in rest.got))
