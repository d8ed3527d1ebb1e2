"""A former owner wakes up with another answer in its hands than the present one has (interleaving 1), and a takeover
takes longer than a session (interleaving 8)."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from tests.chaos.fleet import settled_audit
from tests.chaos.nodes import behind
from tests.chaos.toxiproxy import toxiproxy
from tests.integration.egress.bridge import FLOW, Bridge, EgressProcess, order_id, write_integration
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import Got, Reply, RestDestination, until
from tests.kafka_fixture import require_embedded

from linkspan.broker.ports import HOST, choose

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(300)]

SESSION = 4.0


async def test_what_a_former_owner_says_of_a_message_after_another_delivered_it_is_void(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    """The destination refuses the first owner's request for good while that one is stopped, and takes the second's."""
    made = await bridge(rest_system(rest), partitions=1)
    asked = asyncio.Event()

    def reply(_got: Got) -> Reply:
        first = not asked.is_set()
        asked.set()
        return 422 if first else 201

    rest.reply, rest.hold = reply, 0.5
    session = {"LINKSPAN_SESSION_SECONDS": str(SESSION)}
    former = EgressProcess(made, (), session)
    await former.start()
    try:
        await made.append(*((order_id(1), line) for line in range(3)))
        await asyncio.wait_for(asked.wait(), 30)
        os.kill(former.pid, signal.SIGSTOP)
        async with made.egress(**session):
            await made.wait_outcomes(3, 60)
            os.kill(former.pid, signal.SIGCONT)
            await asyncio.sleep(2 * SESSION)
            assert await former.stop() == 0
            await made.append((order_id(1), 3))
            await until(lambda: len(rest.got) == 5, 60)
    finally:
        await former.kill()
    async with made.egress(**session):  # the next owner folds whatever the former one has said
        await made.append((order_id(1), 4))
        await until(lambda: len(rest.got) == 6, 60)
    assert [got.order[1] for got in rest.got] == [0, 0, 1, 2, 3, 4]
    assert rest.got[1].redelivery
    found = (await settled_audit(made.path, made.bootstrap))["flows"][FLOW]
    assert (found["delivered"], found["dead_lettered"], found["balanced"]) == (5, 0, True)
    print("\nvoid outcomes:", found["repeats"])


async def test_an_owner_whose_takeover_takes_longer_than_its_session_stays_a_member(
    tmp_path: Path, rest: RestDestination
) -> None:
    """Its `state` was lost, so it reads all outcomes, over a thin line; nothing recorded is delivered again."""
    require_embedded()
    port, orders = choose(), [(order_id(n % 50), n // 50) for n in range(800)]
    broker, upstream = behind(tmp_path / "kafka", port)
    async with toxiproxy(tmp_path) as proxies:
        await proxies.between("kafka", upstream, port)
        try:
            await asyncio.to_thread(broker.start)
            made = Bridge(write_integration(tmp_path, rest_system(rest), partitions=1), broker.bootstrap)
            await made.create_topics()
            await made.append(*orders)
            session = {"LINKSPAN_SESSION_SECONDS": str(SESSION), "LOG_LEVEL": "debug"}
            async with made.egress(**session):
                await made.wait_outcomes(len(orders), 60)
            await without_state(made)
            await proxies.disturb("kafka", "thin")
            async with made.egress(**session, MESSAGE_QUEUE_URL=f"kafka://{HOST}:{port}") as slow:
                await made.append((order_id(1), 16))
                await made.wait_outcomes(len(orders) + 1, 150)
                steps = {line["step"]: line["timestamp"] for line in slow.lines("takeover")}
                assert len(slow.lines("partitions assigned")) == 1
                await proxies.heal("kafka", "thin")
        finally:
            broker.kill()
    print("\nepoch begun", steps[7], "outcomes folded", steps[8])
    assert len(rest.got) == len(orders) + 1


async def without_state(made: Bridge) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([made.topics.state])
        await asyncio.sleep(2)
        await admin.create_topics([NewTopic(made.topics.state, 1, 1, topic_configs={"cleanup.policy": "compact"})])
    finally:
        await admin.close()
