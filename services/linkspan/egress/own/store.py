"""The compacted ``state`` of a partition: read by whoever takes over, written by one fenced transactional producer."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition

from linkspan.egress.own.clients import KafkaClients, discard_producer
from linkspan.egress.partition.position import Position
from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.message import now_micros

log = structlog.get_logger()

POSITION = b"position"
#: A transaction, or the producer's start, that takes longer has failed, seconds.
LIMIT = 12.0


class StateLost(LinkspanError):
    """A transaction failed: fenced by a successor, or Kafka is away. The partition must be taken over again."""


class PositionCodec:
    """``position`` as it stands in ``state``."""

    def __init__(self, codec: RecordCodec) -> None:
        self._codec = codec

    def encode(self, position: Position) -> bytes:
        return self._codec.encode(
            {
                "epoch": position.epoch,
                "at": now_micros(),
                "events": position.events,
                "finished": [{"first": first, "end": end} for first, end in position.finished],
                "charged": [{"offset": offset, "attempts": attempts} for offset, attempts in position.charged],
                "outcomes": position.outcomes,
                "outcomesEpoch": position.outcomes_epoch,
                "control": position.control,
            }
        )

    def decode(self, value: bytes | None) -> Position:
        """Raises Poison."""
        found = self._codec.decode(value)
        return Position(
            found["epoch"],
            found["events"],
            tuple((one["first"], one["end"]) for one in found["finished"]),
            tuple((one["offset"], one["attempts"]) for one in found["charged"]),
            found["outcomes"],
            found["outcomesEpoch"],
            found["control"],
        )


class StateStore:
    """Writes ``state`` and ``parked`` of one partition. ``start`` fences every former owner of it."""

    def __init__(self, clients: KafkaClients, transactional_id: str) -> None:
        self._clients, self._id = clients, transactional_id
        self._producer: AIOKafkaProducer | None = None
        self._one = asyncio.Lock()

    async def start(self) -> None:
        """Raises StateLost."""
        self._producer = self._clients.transactional(self._id)
        await self._within("the producer of", self._producer.start())

    async def write(self, records: list[tuple[TopicPartition, bytes, bytes | None]]) -> None:
        """(where, key, value), all or none of them; raises StateLost. None as value: a tombstone."""
        async with self._one:
            await self._within("a transaction of", self._transaction(records))

    async def _transaction(self, records: list[tuple[TopicPartition, bytes, bytes | None]]) -> None:
        producer = self._producer
        if producer is None:
            raise StateLost("the producer was discarded")
        await producer.begin_transaction()
        log.debug("transaction", id=self._id, at="begun")
        sent = [await producer.send(tp.topic, value, key, tp.partition) for tp, key, value in records]
        await asyncio.gather(*sent)
        log.debug("transaction", id=self._id, at="sent")
        await producer.commit_transaction()
        log.debug("transaction", id=self._id, at="committed")

    async def _within(self, what: str, doing: Any) -> None:
        """Whatever a transactional producer raises, an ``AssertionError`` too: it is of no use any more."""
        try:
            async with asyncio.timeout(LIMIT):
                await doing
        except StateLost:
            raise
        except Exception as error:
            raise StateLost(f"{what} {self._id} failed: {error!r}") from error

    def discard(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            discard_producer(producer)
