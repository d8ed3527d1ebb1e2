"""Appends events with one idempotent producer, in batches, and says when Kafka has them.

A record is acknowledged (acks=all), or it *failed*, and then so did everything else that was unacknowledged: after a
failed append the producer is discarded and a new one begins, because what follows a gap in an idempotent producer's
sequence is refused for ever, and because a later batch must not overtake an earlier one.

A failed record may still be in Kafka: its acknowledgement may have been lost. The sender, who was told to come again,
does so with the same message id, and the owner of the partition finds the second record a duplicate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer

from linkspan.ingress.append.lane import Lane, Pending, Record
from linkspan.ingress.append.producer import discard, start_producer
from linkspan.ingress.errors import NotNow
from linkspan.ingress.flows import FlowIntake

log = structlog.get_logger()

#: Seconds between two questions whether Kafka still answers, and how long it has for it.
PROBE_EVERY, PROBE_LIMIT = 2.0, 3.0
#: Seconds until the next attempt to connect.
CONNECT_AGAIN = 1.0
#: Bytes of all records without an acknowledgement, at most.
PENDING_BYTES = 64 * 1024 * 1024


class Appender:
    """``prepare`` runs whenever Kafka was reached, before the first append: it makes the topics."""

    def __init__(
        self, client: dict[str, Any], flows: Iterable[FlowIntake], limit: float, prepare: Callable[[], Awaitable[None]]
    ) -> None:
        self._client, self._limit, self._prepare = client, limit, prepare
        self._pending = Pending()
        self._lanes = {
            flow.name: [Lane(flow.name, flow.topics.events, n, self._pending) for n in range(flow.spec.partitions)]
            for flow in flows
        }
        self.connected = asyncio.Event()  # set exactly while trouble is None
        self.trouble: str | None = "not connected to Kafka yet"

    def append(self, flow: str, partition: int, record: Record) -> None:
        """Raises NotNow at once while Kafka is known to be away, or does not keep up."""
        if self.trouble is not None:
            raise NotNow(f"Kafka cannot take messages: {self.trouble}")
        if self._pending.bytes + len(record.value) > PENDING_BYTES:
            raise NotNow("Kafka does not keep up with what is sent", retry_after=1)
        self._lanes[flow][partition].add(record)

    async def run(self) -> None:
        """Connects, and connects again, until cancelled."""
        while True:
            try:
                producer = await self._connect()
                await self._serve(producer)
            except Exception as error:  # noqa: BLE001 - whatever Kafka and its client come up with is an outage
                self._lost(str(error) or type(error).__name__)
            await asyncio.sleep(CONNECT_AGAIN)

    async def _connect(self) -> AIOKafkaProducer:
        async with asyncio.timeout(3 * self._limit):
            await self._prepare()
        return await start_producer(self._client, self._limit)

    async def _serve(self, producer: AIOKafkaProducer) -> None:
        """Until anything fails; then everything unacknowledged has failed."""
        lanes = [lane for lanes in self._lanes.values() for lane in lanes]
        tasks = [asyncio.create_task(lane.flush(producer, self._limit)) for lane in lanes]
        tasks.append(asyncio.create_task(self._watch(producer)))
        log.info("connected to Kafka", was=self.trouble)
        self._found()
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        except TimeoutError:
            raise NotNow(f"no acknowledgement within {self._limit:g} s") from None
        finally:
            self._lost(self.trouble or "an append failed")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            failed = NotNow("Kafka has not acknowledged the message; send it again with the same id")
            for lane in lanes:
                lane.fail(failed)
            await discard(producer)

    async def _watch(self, producer: AIOKafkaProducer) -> None:
        """Refuses while Kafka does not answer; ends with an error once nothing waits for it any more."""
        while True:
            await asyncio.sleep(PROBE_EVERY)
            try:
                async with asyncio.timeout(PROBE_LIMIT):
                    answers = await producer.client.force_metadata_update()
            except TimeoutError:
                answers = False
            if answers:
                self._found()
                continue
            self._lost("it does not answer")
            if not self._pending.bytes:
                raise NotNow("it does not answer")

    def _found(self) -> None:
        self.trouble = None
        self.connected.set()

    def _lost(self, reason: str) -> None:
        if self.trouble != reason:
            log.warning("Kafka is away: messages are refused", reason=reason)
        self.trouble = reason
        self.connected.clear()

    async def drained(self, limit: float) -> None:
        """Waits until nothing is unacknowledged, ``limit`` seconds at most."""
        deadline = asyncio.get_running_loop().time() + limit
        while self._pending.bytes and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - once, at the end
            await asyncio.sleep(0.01)
