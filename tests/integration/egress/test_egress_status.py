"""Each replica says every second how it stands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.integration.egress.bridge import Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination

from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.topics import status_topic

pytestmark = pytest.mark.kafka


class Statuses:
    """What was said, in order; None where a replica took its record back."""

    def __init__(self, made: Bridge) -> None:
        self._codec = RecordCodec(made.catalog, "Status")
        self.said: list[dict[str, Any] | None] = []
        self.keys: list[bytes] = []

    async def follow(self, consumer: AIOKafkaConsumer) -> None:
        async for record in consumer:
            self.keys.append(record.key)
            self.said.append(self._codec.decode(record.value) if record.value is not None else None)

    async def until(self, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first from now on of which it is true."""
        seen = len(self.said)
        async with asyncio.timeout(40):
            while True:
                for said in self.said[seen:]:
                    if said is not None and done(said["flows"][0]):
                        return said
                seen = len(self.said)
                await asyncio.sleep(0.1)


@asynccontextmanager
async def following(made: Bridge) -> AsyncIterator[Statuses]:
    consumer = AIOKafkaConsumer(bootstrap_servers=made.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition(status_topic(made.integration.integration), 0)])
    statuses = Statuses(made)
    task = asyncio.create_task(statuses.follow(consumer))
    try:
        yield statuses
    finally:
        task.cancel()
        await asyncio.wait({task})
        await consumer.stop()


async def test_a_replica_says_what_it_delivers_what_waits_and_why(bridge: MakeBridge, rest: RestDestination) -> None:
    rest.reply = lambda got: 422 if got.order == (order_id(5), 0) else 201
    made = await bridge(rest_system(rest, throttle={"rate": "20/s"}))
    async with following(made) as statuses, made.egress() as process:
        await made.append((order_id(5), 0), (order_id(5), 1), *[(order_id(key), 0) for key in range(10, 90)])
        said = await statuses.until(lambda flow: flow["delivered"] > 5 and len(flow["partitions"]) == 4)
        flow = said["flows"][0]
        assert (flow["flow"], flow["destination"], flow["breaker"]) == ("orders", "store", "closed")
        assert flow["partitions"] == [0, 1, 2, 3]
        said = await statuses.until(lambda flow: flow["heldKeys"] == 1 and flow["window"] == 0 and flow["lag"] == 0)
        assert said["control"] in (0, 1), "what it says itself: its transform"
        await rest.stop()
        await made.append((order_id(6), 0))
        said = await statuses.until(lambda flow: flow["breaker"] == "open")
        assert "no connection to 127.0.0.1" in said["flows"][0]["reason"]
        assert said["flows"][0]["window"] == 1
        await rest.start()
        said = await statuses.until(lambda flow: flow["breaker"] == "closed" and flow["window"] == 0)
        assert said["flows"][0]["reason"] is None
        await process.stop()
        async with asyncio.timeout(20):
            while statuses.said[-1] is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    assert set(statuses.keys) == {said["replica"].encode() for said in statuses.said if said}
    times = [said["at"] for said in statuses.said if said]
    assert len(times) >= (times[-1] - times[0]) / 1e6 / 3, "about one a second, on a busy machine"
