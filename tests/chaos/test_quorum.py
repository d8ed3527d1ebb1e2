"""Three brokers, each a voter of the quorum, with a copy of everything on each: one is lost at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from tests.chaos import fleet
from tests.chaos.fleet import Member, settled_audit
from tests.chaos.nodes import Node, quorum, start_all
from tests.chaos.receivers import Receiver, RestReceiver, SocketReceiver
from tests.chaos.senders import Senders
from tests.chaos.verdict import Fault, judged, read, table
from tests.kafka_fixture import require_embedded

from linkspan.kernel.topics import egress_group

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(600)]

SESSION = 6.0
INGRESS = {"LINKSPAN_APPEND_SECONDS": "8", "LINKSPAN_SPOOL_GRACE_SECONDS": "2", "LINKSPAN_SPOOL_RESERVE_BYTES": "0"}


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[list[Node]]:
    nodes = quorum(folder)
    try:
        await asyncio.to_thread(start_all, nodes)
        yield nodes
    finally:
        for node in nodes:
            node.kill()


async def coordinator(file: Path, nodes: list[Node], alive: int) -> Node:
    """The broker that the group of ``orders`` answers to."""
    admin = AIOKafkaAdminClient(bootstrap_servers=nodes[alive].bootstrap)
    await admin.start()
    try:
        return nodes[int(await admin.find_coordinator(egress_group(fleet.name_of(file), "orders"))) - 1]
    finally:
        await admin.close()


async def test_one_broker_of_three_may_be_lost_under_load_also_the_coordinator(tmp_path: Path) -> None:
    require_embedded()
    a, b = RestReceiver(tmp_path / "a.jsonl", 1, 0.01), SocketReceiver(tmp_path / "b.jsonl", 2, 0.01)
    receivers: dict[str, Receiver] = {"reports": a, "orders": b}
    file = fleet.write_integration(tmp_path, a.port, b.port)
    async with cluster(tmp_path) as nodes:
        bootstrap = ",".join(node.bootstrap for node in nodes)
        members = [Member(f"ingress-{n}", "ingress", file, bootstrap, INGRESS) for n in (1, 2)]
        session = {"LINKSPAN_SESSION_SECONDS": str(SESSION)}
        members += [Member(f"egress-{n}", "egress", file, bootstrap, session) for n in (1, 2)]
        try:
            await asyncio.gather(a.start(), b.start())
            for member in members:
                member.start()
                await member.ready()
            senders = Senders(members[:2], 4000, 75, 80)
            sending = asyncio.create_task(senders.run())
            faults = await lose_one_after_another(file, nodes)
            async with asyncio.timeout(200):
                await sending
            await arrived(senders, receivers)
            said = await settled_audit(file, bootstrap)
        finally:
            for member in members:
                member.kill()
            await asyncio.gather(a.stop(), b.stop())
    verdicts = {
        flow: judged([x for x in senders.accepted if x.flow == flow], read(receiver.file), faults, 3 * SESSION)
        for flow, receiver in receivers.items()
    }
    print("\n" + table(verdicts, faults))
    assert not {flow: verdict.wrong() for flow, verdict in verdicts.items() if verdict.wrong()}
    assert said["code"] == 0
    assert not any(flow["in_flight"] or flow["unaccounted"] for flow in said["flows"].values())


async def lose_one_after_another(file: Path, nodes: list[Node]) -> list[Fault]:
    """The group's coordinator first, and again the one that took over from it, once all are in sync again."""
    faults = []
    for alive in (0, 1):
        await asyncio.sleep(12)
        node = await coordinator(file, nodes, alive)
        begun = time.time()
        node.kill()
        await asyncio.sleep(15)
        await asyncio.to_thread(node.start)
        faults.append(Fault("kill -9", "broker", begun, time.time()))
    return faults


async def arrived(senders: Senders, receivers: dict[str, Receiver], limit: float = 120) -> None:
    deadline = asyncio.get_running_loop().time() + limit
    while asyncio.get_running_loop().time() < deadline:
        missing = {one.id for one in senders.accepted}
        for receiver in receivers.values():
            missing -= receiver.journal.ids
        if not missing:
            return
        await asyncio.sleep(0.5)
