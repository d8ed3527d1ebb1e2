"""A commit that Kafka acknowledged and never wrote where the records are (decision 0029) hides nothing for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from tests.integration.egress.bridge import FLOW, Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until
from tests.integration.egress.test_egress_holds import parked
from tests.integration.egress.test_egress_redrive import refusing

from linkspan.egress.own import store as own_store
from linkspan.egress.own.store import StateStore
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.readmodel.letters import letters

pytestmark = pytest.mark.kafka
BAD = order_id(1)
VERIFIES = "transaction.partition.verification.enable"


@asynccontextmanager
async def unverified(bootstrap: str) -> AsyncIterator[None]:
    """Kafka refuses records of a transaction that its coordinator does not know, unless told otherwise."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()

    async def verify(said: str) -> None:
        changed = [ConfigResource(ConfigResourceType.BROKER, "1", {VERIFIES: said})]
        await admin.alter_configs(changed)
        async with asyncio.timeout(20):
            while repr(said) not in repr(await admin.describe_configs(changed)):  # noqa: ASYNC110 - Kafka does not tell
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)  # until what the broker shows holds for every partition

    try:
        await verify("false")
        yield
    finally:
        await verify("true")
        await admin.close()


async def leave_open(store: StateStore, where: TopicPartition, record: Any) -> None:
    """``record`` as a part of a transaction that is over for its producer and the coordinator, and not for the log."""
    producer = store._producer
    assert producer is not None
    await producer.begin_transaction()
    producer._txn_manager._txn_partitions.add(where)
    await producer.send_and_wait(where.topic, record.value, record.key, where.partition, headers=list(record.headers))
    producer._txn_manager._txn_partitions.clear()
    await producer.commit_transaction()


async def hidden(made: Bridge, where: TopicPartition) -> int:
    """How many offsets a reader of what is committed does not see."""
    ends = []
    for isolation in ("read_uncommitted", "read_committed"):
        reader = KafkaClients(made.bootstrap).reader(isolation_level=isolation)
        await reader.start()
        ends.append(int((await reader.end_offsets([where]))[where]))
        await reader.stop()
    return ends[0] - ends[1]


async def until_seen(made: Bridge, *places: TopicPartition) -> None:
    """A commit is acknowledged before its marker is written; one that is lost does not come later."""
    async with asyncio.timeout(60):
        while any([await hidden(made, where) for where in places]):  # noqa: ASYNC110 - Kafka does not tell
            await asyncio.sleep(0.1)


async def test_the_next_owner_ends_what_was_left_open(bridge: MakeBridge, rest: RestDestination) -> None:
    refusing(rest, (BAD, 0))
    made = await bridge(rest_system(rest), partitions=1)
    places = [TopicPartition(topic, 0) for topic in (made.topics.parked, made.topics.state)]
    await made.append((BAD, 0))
    async with made.serving():
        await made.wait_outcomes(1)
    copy = (await parked(made))[-1]
    former = StateStore(KafkaClients(made.bootstrap), f"{made.integration.integration}.{FLOW}.0")
    async with unverified(made.bootstrap):
        await former.start()
        for where in places:
            await leave_open(former, where, copy)
    former.discard()
    assert [await hidden(made, where) for where in places] == [1, 1]
    async with made.serving() as service:
        await until(lambda: service.member.partitions == [0])
        await until_seen(made, *places)
        found = await letters(KafkaClients(made.bootstrap), made.integration.integration, FLOW, 1)
        assert [one.key for one in found] == [BAD]


async def test_after_a_transaction_that_took_long_the_next_checkpoint_ends_what_was_left_open(
    bridge: MakeBridge, rest: RestDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(rest, (BAD, 0))
    made = await bridge(rest_system(rest), partitions=1)
    where = TopicPartition(made.topics.parked, 0)
    await made.append((BAD, 0))
    async with made.serving() as service:
        await made.wait_outcomes(1)
        (owner,) = service.member.owners()
        await until(lambda: owner.checkpointed is not None and owner.checkpointed.events == 1)
        store, copy = owner._store, (await parked(made))[-1]
        assert store is not None
        await until(lambda: not store.doubtful)
        async with unverified(made.bootstrap), store._one:
            await leave_open(store, where, copy)
        assert await hidden(made, where) == 1
        with monkeypatch.context() as patch:
            patch.setattr(own_store, "_SLOW", -1.0)
            await owner.checkpoint(always=True)
            assert store.doubtful
        await until(lambda: not store.doubtful)
        await until_seen(made, where)
