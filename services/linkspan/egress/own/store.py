"""The compacted ``state`` of a partition: read by whoever takes over, written by one fenced transactional producer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition

from linkspan.egress.own.clients import KafkaClients, discard_producer
from linkspan.egress.partition.holds import Hold
from linkspan.egress.partition.position import Position
from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.message import now_micros
from linkspan.kernel.schemas import SchemaCatalog

log = structlog.get_logger()

POSITION, HOLD, IDS = b"position", b"hold/", b"ids/"
#: A transaction, or the producer's start, that takes longer has failed, seconds.
LIMIT = 12.0


Writing = tuple[TopicPartition, bytes, bytes | None, list[tuple[str, bytes]]]
"""Where, key, value (None: a tombstone), headers."""


class StateLost(LinkspanError):
    """A transaction failed: fenced by a successor, or Kafka is away. The partition must be taken over again."""


class StateCodec:
    """The records of ``state``: ``position``, ``hold/<entity key>`` for each held key, ``ids/<n>`` for past ids."""

    def __init__(self, catalog: SchemaCatalog) -> None:
        self._codec, self._holds = RecordCodec(catalog, "Position"), RecordCodec(catalog, "Hold")
        self._ids = RecordCodec(catalog, "Ids")

    def encode_ids(self, serial: int, entries: bytes) -> bytes:
        return self._ids.encode({"serial": serial, "entries": entries})

    def decode_ids(self, value: bytes) -> tuple[int, bytes]:
        """Serial number and packed entries; raises Poison."""
        found = self._ids.decode(value)
        return found["serial"], found["entries"]

    def encode_hold(self, hold: Hold | None) -> bytes | None:
        """None, a tombstone, for a key that is free again."""
        if hold is None:
            return None
        said = {"dead": hold.dead, "last": hold.last, "drained": hold.drained, "from": hold.start}
        return self._holds.encode(said | {"draining": hold.draining})

    def decode_hold(self, value: bytes) -> Hold:
        """Raises Poison."""
        found = self._holds.decode(value)
        return Hold(found["dead"], found["last"], found["drained"], found["from"], found["draining"])

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
                "redriven": list(position.redriven),
                "parked": position.parked,
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
            tuple(found["redriven"]),
            found["parked"],
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

    async def write(self, records: Sequence[Writing]) -> list[int]:
        """All or none of them; the offset of each. Raises StateLost."""
        async with self._one:
            stored: list[int] = await self._within("a transaction of", self._transaction(records))
            return stored

    async def _transaction(self, records: Sequence[Writing]) -> list[int]:
        producer = self._producer
        if producer is None:
            raise StateLost("the producer was discarded")
        await producer.begin_transaction()
        log.debug("transaction", id=self._id, at="begun")
        sent = [
            await producer.send(tp.topic, value, key, tp.partition, headers=headers)
            for tp, key, value, headers in records
        ]
        stored = await asyncio.gather(*sent)
        log.debug("transaction", id=self._id, at="sent")
        await producer.commit_transaction()
        log.debug("transaction", id=self._id, at="committed")
        return [one.offset for one in stored]

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
