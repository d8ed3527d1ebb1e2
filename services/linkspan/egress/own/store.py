"""The compacted ``state`` of a partition: read by whoever takes over, written by one fenced transactional producer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition

from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.kafka.clients import KafkaClients, discard_producer
from linkspan.kernel.records.state import BARRIER

log = structlog.get_logger()

#: A transaction, or the producer's start, that takes longer has failed, seconds.
LIMIT = 12.0
#: After one that took longer Kafka may have been stopped and started meanwhile, seconds.
_SLOW = 1.0


Writing = tuple[TopicPartition, bytes, bytes | None, list[tuple[str, bytes]]]
"""Where, key, value (None: a tombstone), headers."""


class StateLost(LinkspanError):
    """A transaction failed: fenced by a successor, or Kafka is away. The partition must be taken over again."""


class StateStore:
    """Writes ``state`` and ``parked`` of one partition. ``start`` fences every former owner of it.

    A Kafka that is being stopped can acknowledge a commit and never write it where the records are; nothing behind them
    is read then, until the same producer commits there again (decision 0029). So ``start`` does, in all ``partitions``,
    and while it is ``doubtful`` the next ``write``, of nothing too.
    """

    def __init__(self, clients: KafkaClients, transactional_id: str, partitions: Sequence[TopicPartition] = ()) -> None:
        self._clients, self._id, self._partitions = clients, transactional_id, partitions
        self._producer: AIOKafkaProducer | None = None
        self._one = asyncio.Lock()
        self.doubtful = False

    async def start(self) -> None:
        """Raises StateLost."""
        self._producer = self._clients.transactional(self._id)
        await self._within("the producer of", self._producer.start())
        if self._partitions:
            self.doubtful = True
            await self.write(())

    async def write(self, records: Sequence[Writing]) -> list[int]:
        """All or none of them; the offset of each. Raises StateLost."""
        async with self._one:
            stored: list[int] = await self._within("a transaction of", self._transaction(records))
            return stored

    async def _transaction(self, records: Sequence[Writing]) -> list[int]:
        producer = self._producer
        if producer is None:
            raise StateLost("the producer was discarded")
        begun = time.monotonic()
        await producer.begin_transaction()
        log.debug("transaction", id=self._id, at="begun")
        sent = [
            await producer.send(tp.topic, value, key, tp.partition, headers=headers)
            for tp, key, value, headers in [*records, *self._barriers()]
        ]
        stored = await asyncio.gather(*sent)
        log.debug("transaction", id=self._id, at="sent")
        await producer.commit_transaction()
        log.debug("transaction", id=self._id, at="committed")
        self.doubtful = bool(self._partitions) and time.monotonic() - begun > _SLOW
        return [one.offset for one in stored[: len(records)]]

    def _barriers(self) -> list[Writing]:
        return [(tp, BARRIER, None, []) for tp in self._partitions] if self.doubtful else []

    async def _within(self, what: str, doing: Any) -> Any:
        """Whatever a transactional producer raises, an ``AssertionError`` too: it is of no use any more."""
        try:
            async with asyncio.timeout(LIMIT):
                return await doing
        except StateLost:
            raise
        except Exception as error:
            raise StateLost(f"{what} {self._id} failed: {error!r}") from error

    def discard(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            discard_producer(producer)
