"""What a rollout's stage has counted, on a real Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.integration.egress.bridge import FLOW, Bridge
from tests.integration.egress.conftest import MakeBridge
from tests.integration.egress.destinations import until

from linkspan.broker.ports import choose
from linkspan.cli.rollout.counts import Done
from linkspan.cli.rollout.place import Place, StageCounts
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.message import now_micros
from linkspan.kernel.topics import Headers

pytestmark = pytest.mark.kafka
NEW = "1.0.0"
NOWHERE: dict[str, Any] = {"kind": "rest", "url": "http://127.0.0.1:9"}


@asynccontextmanager
async def counting(made: Bridge, bootstrap: str) -> AsyncIterator[StageCounts]:
    unused: Any = None
    place = Place(made.integration, KafkaClients(bootstrap), unused, unused, unused)
    stage = StageCounts(place, {FLOW: made.partitions}, now_micros())
    running = asyncio.create_task(stage.run())
    try:
        yield stage
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_a_stage_is_counted_once_what_was_told_before_is_and_no_earlier(bridge: MakeBridge) -> None:
    made = await bridge(NOWHERE, partitions=2)
    async with counting(made, made.bootstrap) as stage:
        producer = KafkaClients(made.bootstrap).transactional("counts")
        await producer.start()
        try:
            for partition in range(made.partitions):
                await tell(producer, made, partition)
            told = time.time()
            await until(lambda: stage.missing(told) is None, 60)
            assert stage.counts.by_version == {NEW: Done(delivered=2 * made.partitions)}
            assert stage.missing(time.time() + 60) == "not all outcomes are counted yet"
        finally:
            await producer.stop()


async def tell(producer: Any, made: Bridge, partition: int) -> None:
    """In a transaction, so that the log ends with what is no record."""
    async with producer.transaction():
        for kind, more in (("owner", [(Headers.VERSION, NEW.encode())]), ("delivered", []), ("delivered", [])):
            headers = [(Headers.KIND, kind.encode()), (Headers.EPOCH, b"1"), *more]
            await producer.send(made.topics.outcomes, b"", partition=partition, headers=headers)


async def test_outcomes_that_cannot_be_read_are_never_counted_and_it_says_so(bridge: MakeBridge) -> None:
    made = await bridge(NOWHERE, partitions=1)
    async with counting(made, f"127.0.0.1:{choose()}") as stage:
        await until(lambda: "cannot be read" in (stage.missing(time.time() - 60) or ""), 60)
