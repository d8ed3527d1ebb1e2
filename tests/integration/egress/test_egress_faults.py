"""What is killed, stopped or away in the middle: nothing lost, nothing recorded is repeated, order of each key kept."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.integration.egress.bridge import Bridge, EgressProcess, in_order, lines_by_key, order_id
from tests.integration.egress.conftest import MakeBridge, queue_system, rest_system
from tests.integration.egress.destinations import Got, QueueDestination, RestDestination, until
from tests.integration.egress.plans import replay, until_ended

from linkspan.broker import EmbeddedKafka
from linkspan.broker.ports import choose
from linkspan.egress.record import recorder

pytestmark = pytest.mark.kafka
OwnBroker = Callable[..., EmbeddedKafka]
KEYS = 12
LINES = 50
ORDERS = [(order_id(key), line) for line in range(LINES) for key in range(KEYS)]


def all_in_order(got: list[Got]) -> bool:
    found = lines_by_key([one.order for one in got])
    return all(in_order(lines) and set(lines) == set(range(LINES)) for lines in found.values()) and len(found) == KEYS


async def test_kill_9_loses_nothing_repeats_nothing_recorded_and_marks_the_rest(
    bridge: MakeBridge, queue: QueueDestination
) -> None:
    queue.hold = 0.02
    made = await bridge(queue_system(queue), deliver={"path": "/v1/queue"})
    await made.append(*ORDERS)
    process = EgressProcess(made, (), {"LINKSPAN_SESSION_SECONDS": "6"})
    await process.start()
    await until(lambda: len(queue.got) > 200)
    await process.kill()
    await asyncio.sleep(0.1)
    recorded = {one["messageId"] for one in await made.outcomes()}
    before = len(queue.got)
    assert 100 < len(recorded) < len(ORDERS)
    async with made.serving():
        outcomes = await made.wait_outcomes(len(ORDERS))
    assert all_in_order(queue.got)
    repeated = [got for got in queue.got[before:] if got.id in {one.id for one in queue.got[:before]}]
    assert recorded.isdisjoint(got.id for got in repeated)
    assert len(repeated) <= KEYS
    assert all(got.redelivery for got in repeated)
    assert max(Counter(one["messageId"] for one in outcomes).values()) == 1


@pytest.fixture
def patient_again(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """An append has 1.5 s, until this is called."""
    monkeypatch.setattr(recorder, "ACK_LIMIT", 1.5)
    return monkeypatch.undo


@pytest.mark.thorough
async def test_a_broker_that_is_away_longer_than_an_append_may_take_is_waited_for(
    bridge: MakeBridge, rest: RestDestination, own_broker: OwnBroker, patient_again: Callable[[], None]
) -> None:
    """After ``ACK_LIMIT`` the producer is discarded and the partition taken over again."""
    broker = own_broker()
    rest.hold = 0.02
    made = await bridge(rest_system(rest), bootstrap=broker.bootstrap)
    await made.append(*ORDERS)
    async with made.serving() as service:
        await until(lambda: len(rest.got) > 100)
        await asyncio.to_thread(broker.kill)
        await asyncio.sleep(4)
        stalled = len(rest.got)
        await asyncio.sleep(0.5)
        assert len(rest.got) == stalled < len(ORDERS)
        await until(lambda: service.member.trouble() is not None)
        patient_again()
        await asyncio.to_thread(broker.start)
        outcomes = await made.wait_outcomes(len(ORDERS), seconds=60)
    assert {one["kind"] for one in outcomes} == {"delivered"}
    assert all_in_order(rest.got)
    assert len(rest.got) - len(ORDERS) <= KEYS


@pytest.mark.thorough
async def test_a_broker_that_is_away_during_a_replay_is_waited_for_by_it_and_by_live_messages(
    bridge: MakeBridge, rest: RestDestination, own_broker: OwnBroker, patient_again: Callable[[], None]
) -> None:
    broker = own_broker()
    made = await bridge(rest_system(rest), bootstrap=broker.bootstrap, partitions=2)
    async with made.serving() as service:
        await made.append(*ORDERS)
        await made.wait_outcomes(len(ORDERS))
        rest.hold = 0.02
        plan = await replay(made, force=True, allow_superseded=True)
        await until(lambda: len(rest.got) > len(ORDERS) + 100)
        await asyncio.to_thread(broker.kill)
        await until(lambda: service.member.trouble() is not None)
        await asyncio.sleep(4)
        patient_again()
        await asyncio.to_thread(broker.start)
        await made.append(*((order_id(key), LINES) for key in range(KEYS)))
        await made.wait_outcomes(len(ORDERS) + KEYS, seconds=60)
        found = await until_ended(made, plan)
    assert found.counts == {"delivered": len(ORDERS)}
    seen: set[str] = set()
    for got in rest.got:
        if got.replay:
            assert got.redelivery or got.id not in seen
            seen.add(got.id)
    assert len(seen) == len(ORDERS)


async def test_without_kafka_it_starts_unready_and_stops_when_told(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest))
    process = EgressProcess(made, (), {"MESSAGE_QUEUE_URL": "kafka://127.0.0.1:9"}, port=choose())
    await process.start(ready=False)
    address = f"http://127.0.0.1:{process.port}"
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        while True:
            with suppress(aiohttp.ClientConnectionError):
                async with session.get(f"{address}/ready") as answer:
                    assert answer.status == 503
                    break
            await asyncio.sleep(0.1)
        async with session.get(f"{address}/health") as answer:
            checks = (await answer.json())["checks"]
    assert not checks["messageQueue"]["healthy"]
    assert checks["systemB"]["healthy"]
    assert await process.stop() == 0


async def test_two_replicas_share_the_partitions_and_one_that_leaves_repeats_nothing(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    rest.hold = 0.02
    made = await bridge(rest_system(rest))
    await made.append(*ORDERS[: len(ORDERS) // 2])
    async with made.serving() as first:
        await until(lambda: len(rest.got) > 60)
        async with made.serving() as second:
            await until(lambda: len(first.member.partitions) == len(second.member.partitions) == 2)
            assert set(first.member.partitions) | set(second.member.partitions) == set(range(4))
            await until(lambda: len(rest.got) == len(ORDERS) // 2)
            await made.append(*ORDERS[len(ORDERS) // 2 :])
            await until(lambda: len(rest.got) > len(ORDERS) // 2 + 60)
        await made.wait_outcomes(len(ORDERS))
    assert all_in_order(rest.got)
    assert len(rest.got) == len(ORDERS)


async def test_a_group_offset_set_by_a_tool_repeats_nothing(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest))
    await made.append(*ORDERS)
    async with made.serving():
        await made.wait_outcomes(len(ORDERS))
    await _rewind(made)
    more = [(order_id(key), LINES) for key in range(KEYS)]
    await made.append(*more)
    async with made.serving():
        await made.wait_outcomes(len(ORDERS) + len(more))
    assert len(rest.got) == len(ORDERS) + len(more)


async def _rewind(made: Bridge) -> None:
    group = f"linkspan-{made.integration.integration}-orders-egress"
    consumer = AIOKafkaConsumer(bootstrap_servers=made.bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(made.topics.events, number) for number in range(made.partitions)]
        consumer.assign(partitions)
        await consumer.commit(dict.fromkeys(partitions, 0))
    finally:
        await consumer.stop()
