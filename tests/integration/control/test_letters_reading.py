"""Reading dead letters ends, whatever else is under way in Kafka."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from aiokafka import TopicPartition
from grpc import aio
from tests.integration.control.test_views import BAD, WORSE, letters, served
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination
from tests.integration.egress.test_egress_redrive import refusing

from linkspan.broker import EmbeddedKafka
from linkspan.kernel.kafka.clients import KafkaClients, stop_producer
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.state import BARRIER

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


async def test_a_transaction_that_is_open_on_parked_holds_no_reader_up(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    refusing(rest, (BAD, 0), (WORSE, 0))
    made = await bridge(rest_system(rest), partitions=1)
    await made.append((BAD, 0), (WORSE, 0))
    clients = KafkaClients(made.bootstrap)
    hung = clients.transactional("hung-" + made.integration.integration)
    async with served(made) as caller:
        await made.wait_outcomes(2)
        await hung.start()
        try:
            await hung.begin_transaction()
            await hung.send_and_wait(made.topics.parked, b"not decided", b"7", 0)
            async with asyncio.timeout(60):
                for _ in range(3):
                    assert (await letters(caller)).total == 2, "what is committed, and no more"
            await reads_to_its_end(clients, made.topics.parked)
            await hung.abort_transaction()
            async with asyncio.timeout(60):
                assert (await letters(caller)).total == 2
        finally:
            await stop_producer(hung)


async def reads_to_its_end(clients: KafkaClients, topic: str) -> None:
    """Where the open transaction begins."""
    reader = clients.reader()
    await reader.start()
    try:
        taken: list[Any] = []
        async with asyncio.timeout(60):
            end = await read_all(reader, TopicPartition(topic, 0), 0, None, taken.append)
        assert taken[-1].offset < end
        assert sorted(one.key for one in taken if one.key != BARRIER) == [b"0", b"1"]
    finally:
        await reader.stop()


async def test_while_kafka_hangs_each_call_is_answered_and_afterwards_the_letters_are_there(
    bridge: MakeBridge, rest: RestDestination, own_broker: Callable[..., EmbeddedKafka]
) -> None:
    refusing(rest, (BAD, 0))
    broker = await asyncio.to_thread(own_broker)
    made = await bridge(rest_system(rest), broker.bootstrap, partitions=1)
    await made.append((BAD, 0))
    async with served(made) as caller:
        await made.wait_outcomes(1)
        assert (await letters(caller)).total == 1
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            for answer in await asyncio.gather(*(letters(caller) for _ in range(3)), return_exceptions=True):
                assert isinstance(answer, aio.AioRpcError)
                assert answer.code() is grpc.StatusCode.UNAVAILABLE, answer
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        async with asyncio.timeout(30):
            assert (await letters(caller)).total == 1
