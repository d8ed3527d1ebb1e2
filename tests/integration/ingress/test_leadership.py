"""Who serves the sources: one replica at any time, and always one."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from structlog.testing import capture_logs
from tests.kafka_fixture import Kafka

from linkspan.ingress.accept import leadership
from linkspan.ingress.accept.leadership import Leadership
from linkspan.kernel.kafka.clients import KafkaClients

#: Seconds; a connection is closed within the session, and while it is, its former holder confirms itself at least once.
SESSION, CLOSES_IN = 9.0, leadership.CONFIRM_EVERY + 1


class Source:
    """Run by several members: ``runs`` counts them, ``most`` at a time."""

    def __init__(self, closes_in: float = 0.0, failures: int = 0) -> None:
        self.runs = self.most = self.started = 0
        self._closes_in, self._failures = closes_in, failures

    async def run(self) -> None:
        self.started += 1
        if self.started <= self._failures:
            raise ValueError("a mistake of the source's")
        self.runs += 1
        self.most = max(self.most, self.runs)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(self._closes_in)
            self.runs -= 1


@pytest.fixture
async def topic(kafka: Kafka) -> str:
    """Of two partitions."""
    name = f"l{secrets.token_hex(4)}.sources"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 2, 1)])
    finally:
        await admin.close()
    return name


@asynccontextmanager
async def member(kafka: Kafka, topic: str, sources: Sequence[Source]) -> AsyncIterator[Leadership]:
    made = Leadership(KafkaClients(kafka.bootstrap), f"group-of-{topic}", topic, sources, SESSION)
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Any, limit: float = 40) -> None:
    async with asyncio.timeout(limit):
        while not condition():  # noqa: ASYNC110 - neither a member nor a source has an event
            await asyncio.sleep(0.05)


@pytest.mark.kafka
async def test_a_holder_that_confirms_itself_amid_a_rebalance_holds_nothing_twice(kafka: Kafka, topic: str) -> None:
    sources = [Source(CLOSES_IN), Source(CLOSES_IN)]
    async with member(kafka, topic, sources) as first:
        await until(lambda: all(source.runs for source in sources))
        async with member(kafka, topic, sources) as second:
            await until(lambda: second._held)
            await until(lambda: all(source.runs for source in sources))
            assert [len(first._held), len(second._held)] == [1, 1]
            assert [source.most for source in sources] == [1, 1]


@pytest.mark.kafka
async def test_a_source_that_fails_is_said_and_started_again_with_its_neighbours(kafka: Kafka, topic: str) -> None:
    sources = [Source(failures=1), Source(), Source()]
    with capture_logs() as logs:
        async with member(kafka, topic, sources):
            await until(lambda: sources[0].started == 2)
            await until(lambda: all(source.runs == 1 for source in sources))
    said = [line["exc_info"] for line in logs if line["event"] == "sources ended by themselves"]
    assert [str(error) for group in said for error in group.exceptions] == ["a mistake of the source's"]


class Consumer:
    """Its commit succeeds when it is told to; its assignment is the old one, as amid a rebalance."""

    def __init__(self, partition: TopicPartition) -> None:
        self._partition = partition
        self.committing, self.may_commit = asyncio.Event(), asyncio.Event()

    def assignment(self) -> set[TopicPartition]:
        return {self._partition}

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return {self._partition.partition}

    async def commit(self, _offsets: Any) -> None:
        self.committing.set()
        await self.may_commit.wait()


async def test_what_is_revoked_while_its_confirmation_is_under_way_is_not_held() -> None:
    partition, source = TopicPartition("sources", 0), Source()
    made, consumer = Leadership(KafkaClients("127.0.0.1:9"), "group", "sources", [source], SESSION), Consumer(partition)
    await made.on_partitions_assigned({partition})
    poll = asyncio.create_task(asyncio.Event().wait())
    confirming = asyncio.create_task(made._confirm(consumer, poll))  # type: ignore[arg-type]
    await consumer.committing.wait()
    await made.on_partitions_revoked({partition})
    consumer.may_commit.set()
    await asyncio.sleep(1)
    assert not made._held
    assert source.started == 0

    await made.on_partitions_assigned({partition})
    await until(lambda: source.runs)
    for task in (confirming, poll):
        task.cancel()
    await asyncio.gather(confirming, poll, return_exceptions=True)
    await made._close()
