"""The chaos run: several replicas, real Kafka, both kinds of systems, and everything that can break breaks at random.

``CHAOS_SECONDS``, ``CHAOS_MESSAGES`` and ``CHAOS_SEED`` say how long, how much and which faults in which order;
``CHAOS_ONLY`` narrows these to the names that match."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.chaos import faults, fleet
from tests.chaos.decisions import Operator
from tests.chaos.faults import World
from tests.chaos.fleet import Member, audit
from tests.chaos.nodes import behind
from tests.chaos.receivers import Receiver, RestReceiver, SocketReceiver
from tests.chaos.senders import Senders
from tests.chaos.source import PATH, Source
from tests.chaos.stalls import Span, stalls
from tests.chaos.toxiproxy import toxiproxy
from tests.chaos.verdict import Fault, Verdict, judged, read, table
from tests.kafka_fixture import require_embedded

from linkspan.broker.ports import HOST, choose

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(7200)]

SESSION = 4.0
KEYS = 160
DESTINATIONS = {"reports": "A", "orders": "B"}
#: The flow whose dead letters hold their keys.
HOLDING = "orders"
INGRESS = {
    "LINKSPAN_APPEND_SECONDS": "3",
    "LINKSPAN_SPOOL_GRACE_SECONDS": "1",
    "LINKSPAN_SPOOL_RESERVE_BYTES": "0",
    "LINKSPAN_SESSION_SECONDS": "6",
}


@dataclass
class Run:
    world: World
    file: Path
    arrived: dict[str, Receiver]


@asynccontextmanager
async def running(folder: Path, seed: int, source: Source) -> AsyncIterator[Run]:
    """``source``: what B pushes by itself, once ingress is connected to it."""
    a, b = RestReceiver(folder / "a.jsonl", seed, 0.01), SocketReceiver(folder / "b.jsonl", seed + 1, 0.01)
    b.sources[PATH] = source.hold
    async with toxiproxy(folder) as proxies:
        kafka_port = choose()
        broker, upstream = behind(folder / "kafka", kafka_port)
        await proxies.between("kafka", upstream, kafka_port)
        file = fleet.write_integration(
            folder, await proxies.between("A", a.address), await proxies.between("B", b.address)
        )
        bootstrap = f"{HOST}:{kafka_port}"
        egress = {"LINKSPAN_SESSION_SECONDS": str(SESSION)}
        members = [Member(f"ingress-{n}", "ingress", file, bootstrap, INGRESS) for n in (1, 2)]
        members += [Member(f"egress-{n}", "egress", file, bootstrap, egress) for n in (1, 2, 3)]
        world = World(broker, proxies, {"A": a, "B": b}, members[:2], members[2:-1], members[-1], SESSION)
        try:
            for receiver in (a, b):
                await receiver.start()
            await asyncio.to_thread(broker.start)
            for member in members[:-1]:
                member.start()
                await member.ready()
            yield Run(world, file, {"reports": a, "orders": b})
        finally:
            for member in members:
                member.kill()
            broker.kill()
            for receiver in (a, b):
                await receiver.stop()


async def drained(run: Run, senders: Senders, operator: Operator, patience: float = 180) -> dict[str, Any]:
    """Until both systems were asked to take all that was accepted and nothing is held, or nothing more arrived for
    ``patience`` seconds; the last audit."""
    wanted = {flow: {one.id for one in senders.accepted if one.flow == flow} for flow in run.arrived}
    now = asyncio.get_running_loop().time
    arrived, deadline = -1, now() + patience
    while True:
        cleared = await operator.clear(HOLDING)
        before, arrived = arrived, sum(len(receiver.journal.ids) for receiver in run.arrived.values())
        deadline = now() + patience if arrived > before else deadline
        late = now() > deadline
        if late or (cleared and all(ids <= run.arrived[flow].journal.ids for flow, ids in wanted.items())):
            said = await audit(run.file, run.world.broker.bootstrap)
            if late or not any(flow["in_flight"] + flow["held"] for flow in said["flows"].values()):
                return said
        await asyncio.sleep(1)


async def operated(operator: Operator, run: Run, seed: int, seconds: float, only: str) -> list[Fault]:
    """The faults that were injected while the operator was at work."""
    operating = asyncio.create_task(operator.run())
    try:
        return await faults.inject(run.world, seed, seconds, only)
    finally:
        operating.cancel()
        with suppress(asyncio.CancelledError):
            await operating


async def test_whatever_breaks_nothing_is_lost_or_out_of_order_and_repeats_are_marked(tmp_path: Path) -> None:
    require_embedded()
    chosen = faults.settings()
    seed, seconds, messages = chosen["seed"], chosen["seconds"], chosen["messages"]
    print(f"\nCHAOS_SEED={seed} CHAOS_SECONDS={seconds:g} CHAOS_MESSAGES={messages}; logs and records in {tmp_path}")
    source = Source(range(KEYS, KEYS + KEYS // 4))
    async with stalls() as stood_still, running(tmp_path, seed, source) as run:
        senders = Senders(run.world.ingress, messages, seconds * 0.9, KEYS, holding=True)
        sending = asyncio.gather(senders.run(), source.run(senders))
        operator = Operator(run.file, run.world.broker.bootstrap, run.arrived, seed)
        injected = await operated(operator, run, seed, seconds, chosen["only"])
        async with asyncio.timeout(300 + seconds):
            await sending
        said = await drained(run, senders, operator)
        members = [*run.world.ingress, *run.world.egress, run.world.spare]
        crashed = {member.name: member.crashes for member in members if not member.running and member.crashes}
    broken = [line for member in members for line in member.broken()]
    verdicts = judged_by_flow(run, senders, operator, injected, stood_still)
    print(table(verdicts, injected))
    print(operator.summary(injected))
    print(f"the machine stood still {len(stood_still)} times, {sum(end - begun for begun, end in stood_still):.0f} s")
    print("audit:", said["flows"])
    wrong = {flow: verdict.wrong() for flow, verdict in verdicts.items() if verdict.wrong()}
    assert not wrong, f"seed {seed}: {wrong}"
    assert not crashed, f"seed {seed}: ended by themselves: {crashed}"
    assert not broken, f"seed {seed}: {broken[:3]}"
    check_audit(said, senders, verdicts, seed)


def judged_by_flow(
    run: Run, senders: Senders, operator: Operator, injected: list[Fault], stood_still: list[Span]
) -> dict[str, Verdict]:
    """A repeat is explained by what broke on its own way only."""
    verdicts = {}
    for flow, receiver in run.arrived.items():
        own = [one for one in senders.accepted if one.flow == flow]
        near = [fault for fault in injected if fault.what in {"egress", "Kafka", DESTINATIONS[flow]}]
        given_up = operator.given_up(flow) if flow == HOLDING else None
        verdicts[flow] = judged(own, read(receiver.file), near, 2 * SESSION, given_up, stood_still)
    return verdicts


def check_audit(said: dict[str, Any], senders: Senders, verdicts: dict[str, Verdict], seed: int) -> None:
    """The log's own account balances, and fits to what the receivers and the senders know: what was sent twice is a
    duplicate, or, where the first is a dead letter, a letter of its own."""
    assert said["code"] == 0, f"seed {seed}: {said}"
    assert said["balanced"]
    for flow, verdict in verdicts.items():
        found = said["flows"][flow]
        assert found["in_flight"] == found["unaccounted"] == found["held"] == 0, f"seed {seed}: {found}"
        own = [one for one in senders.accepted if one.flow == flow]
        twice = found["accepted"] - len(own)
        assert twice >= 0, f"seed {seed}: {found}"
        assert found["delivered"] == verdict.taken, f"seed {seed}: {found}"
        dead = found["dead_lettered"] + found["discarded"]
        assert found["accepted"] == found["delivered"] + dead + found["duplicate"], f"seed {seed}: {found}"
        unwanted = sum(one.unwanted for one in own)
        assert 0 <= dead <= unwanted + twice, f"seed {seed}: {found}"
    assert said["flows"][HOLDING]["dead_lettered"] == 0, f"seed {seed}: {said}"


def test_the_same_seed_draws_the_same_faults() -> None:
    drawn = [[card[:2] for card in random.Random(7).sample(faults.deck(), len(faults.deck()))] for _ in range(2)]
    assert drawn[0] == drawn[1]
