"""Appends the outcomes of one partition in batches: one flusher, one batch under way, one idempotent producer."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.kafka.clients import KafkaClients, discard_producer

log = structlog.get_logger()

#: After the first outcome the flusher waits so long for more, seconds.
LINGER = 0.002
BATCH_BYTES = 256 * 1024
#: An append without an ack for so long has failed, seconds. An idempotent producer is of no use after its own
#: request timeout (``OutOfOrderSequenceNumber`` for ever), and without its broker it reconnects without a pause.
ACK_LIMIT = 20.0

Acked = Callable[[list[Any], int], None]


class AppendFailed(LinkspanError):
    """The outcome may or may not be in the log: its topic must be read again, by a new owner with a new producer."""


class Recorder:
    """``acked(tokens, first_offset)`` is called for each appended batch, and ``took`` with its seconds.

    ``start``, then ``run`` until cancelled.
    """

    def __init__(
        self, clients: KafkaClients, topic: str, partition: int, acked: Acked, took: Callable[[float], None]
    ) -> None:
        self._clients, self._topic, self._partition, self._acked = clients, topic, partition, acked
        self._took = took
        self._waiting: deque[tuple[bytes | None, bytes, list[tuple[str, bytes]], Any]] = deque()
        self._some = asyncio.Event()
        self._producer: AIOKafkaProducer | None = None
        self._next_offset = 0
        self._under_way = 0

    @property
    def busy(self) -> bool:
        """Something waits for its ack."""
        return bool(self._waiting) or self._under_way > 0

    async def start(self) -> None:
        """Raises KafkaError where Kafka is away."""
        self._producer = self._clients.producer(max_batch_size=BATCH_BYTES)
        try:
            await self._producer.start()
        except BaseException:
            self.discard()
            raise

    def append(self, key: bytes | None, value: bytes, headers: list[tuple[str, bytes]], token: Any) -> None:
        self._waiting.append((key, value, headers, token))
        self._some.set()

    async def run(self) -> None:
        """Raises AppendFailed."""
        while True:
            await self._some.wait()
            await asyncio.sleep(LINGER)
            self._some.clear()
            while self._waiting:
                await self._flush()

    async def begin(self, value: bytes, headers: list[tuple[str, bytes]]) -> int:
        """Appends ``owner(epoch)`` before anything else, and returns its offset; raises AppendFailed."""
        producer = self._running()
        batch = producer.create_batch()
        batch.append(key=None, value=value, timestamp=None, headers=headers)
        acked = await self._send(producer, batch)
        if acked < 0:
            raise AppendFailed("Kafka had it already and does not say where")
        self._next_offset = acked + 1
        return acked

    async def _flush(self) -> None:
        producer = self._running()
        batch = producer.create_batch()
        tokens: list[Any] = []
        while self._waiting:
            key, value, headers, token = self._waiting[0]
            if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                break
            self._waiting.popleft()
            tokens.append(token)
        self._under_way = len(tokens)
        started = time.perf_counter()
        acked = await self._send(producer, batch)
        self._took(time.perf_counter() - started)
        first = acked if acked >= 0 else self._next_offset
        self._next_offset = first + len(tokens)
        self._under_way = 0
        log.debug("outcomes appended", topic=self._topic, partition=self._partition, first=first, count=len(tokens))
        self._acked(tokens, first)

    def _running(self) -> AIOKafkaProducer:
        if self._producer is None:
            raise AppendFailed("the producer was discarded")
        return self._producer

    async def _send(self, producer: AIOKafkaProducer, batch: Any) -> int:
        """The offset of its first record, -1 where Kafka had the batch already."""
        batch.close()
        try:
            async with asyncio.timeout(ACK_LIMIT):
                acked = await (await producer.send_batch(batch, self._topic, partition=self._partition))
        except (KafkaError, TimeoutError) as error:
            raise AppendFailed(f"outcomes of {self._topic}[{self._partition}]: {error!r}") from error
        return int(acked.offset)

    def discard(self) -> None:
        """Stops the producer in the background; nothing that waits is appended by it any more after its limit."""
        producer, self._producer = self._producer, None
        if producer is not None:
            discard_producer(producer)
