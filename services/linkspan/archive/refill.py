"""Writes archived records into an empty partition so that each has the offset that it had."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from linkspan.kernel.archive.segment import Archived
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.clients import KafkaClients, stop_producer
from linkspan.kernel.kafka.gap import leave_out
from linkspan.kernel.topics import MAX_RECORD_BYTES

_BATCH_BYTES = 256 * 1024
_TOGETHER = 2_000
#: Nobody asks for this key; compaction removes the record, a tombstone, later.
_FILLER = b"restored"


class Refill:
    """Of one partition, ``append`` in the order of the offsets. ``end``: where it ends now.

    Offsets that hold nothing are kept so: at the beginning of a log by records that are deleted at once, further on by
    markers of empty transactions, and in a compacted topic by tombstones. Raises KafkaError, UserMistake.
    """

    def __init__(self, clients: KafkaClients, tp: TopicPartition, *, compacted: bool) -> None:
        self._clients, self._tp, self._compacted = clients, tp, compacted
        self._producer: AIOKafkaProducer = clients.producer(
            max_batch_size=_BATCH_BYTES, max_request_size=2 * MAX_RECORD_BYTES, compression_type="lz4"
        )
        self.end = 0

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await stop_producer(self._producer)

    async def begin(self, first: int) -> None:
        """The partition is to begin there."""
        if first == 0 or self._compacted:
            return
        await self._fill(first)
        admin = self._clients.admin()
        try:
            await admin.start()
            await admin.delete_records({self._tp: RecordsToDelete(before_offset=first)})
        finally:
            await admin.close()

    async def append(self, records: Iterable[Archived]) -> int:
        """How many."""
        waiting, count = list[tuple[int, asyncio.Future[Any]]](), 0
        for record in records:
            if record.offset < self.end:
                continue
            if record.offset > self.end:
                await _acknowledged(waiting)
                await self.leave_out(record.offset)
            headers, at = list(record.headers), {"partition": self._tp.partition, "timestamp_ms": record.timestamp}
            sent = await self._producer.send(self._tp.topic, record.value, record.key, headers=headers, **at)
            waiting.append((record.offset, sent))
            self.end, count = record.offset + 1, count + 1
            if len(waiting) >= _TOGETHER:
                await _acknowledged(waiting)
        await _acknowledged(waiting)
        return count

    async def leave_out(self, end: int) -> None:
        """Nothing stands from here to before ``end``."""
        if end <= self.end:
            return
        if self._compacted:
            await self._fill(end)
            return
        found = await leave_out(
            self._clients, {self._tp: end}, f"linkspan-archive-{self._tp.topic}-{self._tp.partition}"
        )
        self.end = found[self._tp]
        if self.end != end:
            raise _elsewhere(end, self.end)

    async def _fill(self, end: int) -> None:
        waiting = list[tuple[int, asyncio.Future[Any]]]()
        while self.end < end:
            batch, first = self._producer.create_batch(), self.end
            now = round(time.time() * 1000)
            while self.end < end and batch.append(timestamp=now, key=_FILLER, value=None) is not None:
                self.end += 1
            sent = await self._producer.send_batch(batch, self._tp.topic, partition=self._tp.partition)
            waiting.append((first, sent))
            if len(waiting) >= 20:
                await _acknowledged(waiting)
        await _acknowledged(waiting)


async def _acknowledged(waiting: list[tuple[int, asyncio.Future[Any]]]) -> None:
    for offset, one in waiting:
        at = await one
        if at.offset != offset:
            raise _elsewhere(offset, at.offset)
    waiting.clear()


def _elsewhere(wanted: int, found: int) -> UserMistake:
    return UserMistake(
        f"a record that had the offset {wanted} got {found}: something else writes to these topics; stop it, delete "
        "the topics, and restore again"
    )
