"""Where a polled source stands: kept in ``<integration>.sources`` under the source's name, written by its leader.

It is written after Kafka has the events up to it, so no cursor ever covers an event that is not there. One that was
written late, by a leader that has just lost its place, can only lead back: the same items come again with their ids.
"""

from __future__ import annotations

import asyncio

import msgspec
from aiokafka import AIOKafkaProducer

from linkspan.ingress.append.producer import discard, start_producer
from linkspan.kernel.kafka.clients import KafkaClients

#: Seconds that Kafka has for one answer.
LIMIT = 10.0


class _Kept(msgspec.Struct):
    cursor: str


_decode = msgspec.json.Decoder(_Kept).decode
_encode = msgspec.json.Encoder().encode


class Cursor:
    """``close`` whenever Kafka is away: an idempotent producer
    without its broker reconnects without a pause."""

    def __init__(self, clients: KafkaClients, topic: str, source: str) -> None:
        self._clients, self._topic, self._key = clients, topic, source.encode()
        self._producer: AIOKafkaProducer | None = None

    async def read(self) -> str | None:
        """The cursor that was kept last; None where there is none. Raises KafkaError or TimeoutError."""
        consumer = self._clients.consumer(
            self._topic, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=100
        )
        newest: tuple[int, bytes] = -1, b""
        try:
            async with asyncio.timeout(3 * LIMIT):
                await consumer.start()
                ends = await consumer.end_offsets(list(consumer.assignment()))
                while any([await consumer.position(one) < end for one, end in ends.items()]):
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        mine = [(one.timestamp, one.value) for one in records if one.key == self._key and one.value]
                        newest = max([*mine[-1:], newest], key=lambda found: found[0])
        finally:
            async with asyncio.timeout(LIMIT):
                await consumer.stop()
        return _decode(newest[1]).cursor if newest[1] else None

    async def write(self, cursor: str) -> None:
        """Returns when Kafka has it. Raises KafkaError, OSError or TimeoutError; then ``close`` and ``read``."""
        self._producer = self._producer or await start_producer(self._clients, LIMIT)
        value = _encode({"cursor": cursor})
        async with asyncio.timeout(LIMIT):
            await self._producer.send_and_wait(self._topic, value, self._key)

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await discard(producer)
