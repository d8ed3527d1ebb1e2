"""The topics that are filled: what a run before has put there, and what is appended now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.topics import Headers

#: Appended without an acknowledgement at most.
_TOGETHER = 2_000
#: Of the records that stand below the first offset, and are deleted.
_FILLER = b"repartition"
_FILLERS_TOGETHER = 20


class Foreign(UserMistake):
    """Something else than this command has written to a topic that it fills."""

    def __init__(self, tp: TopicPartition, what: str) -> None:
        super().__init__(
            f"{tp.topic} {tp.partition} has {what} that linkspan repartition did not put there: stop whatever writes "
            "to these topics. Messages that were accepted into them are nowhere else: send them again, and give the "
            "flow another name"
        )


def copied_from(record: Any) -> tuple[int, int] | None:
    """Partition and offset of what a record was made of."""
    said = dict(record.headers).get(Headers.COPIED, b"").split(b"/")
    return (int(said[0]), int(said[1])) if len(said) == 2 and all(one.isdigit() for one in said) else None


class Target:
    """One topic. ``ends``: where each partition ends."""

    def __init__(self, clients: KafkaClients, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._clients, self._producer, self.topic = clients, producer, topic
        self._tps = [TopicPartition(topic, number) for number in range(partitions)]
        self._waiting: list[tuple[TopicPartition, int, asyncio.Future[Any]]] = []
        self.ends = [0] * partitions

    async def begin(self, reader: AIOKafkaConsumer, first: int, take: Callable[[int, int, int, int], None]) -> None:
        """Every log begins at ``first``. ``take`` is told partition, offset, and from where (partition, offset) of what
        was copied before. Raises Foreign, KafkaError."""
        for tp in self._tps:
            await self._known(reader, tp, first, take)
        short = {tp: end for tp in self._tps if (end := self.ends[tp.partition]) < first}
        for tp, end in short.items():
            await self._fill(tp, end, first)
        if first:
            admin = self._clients.admin()
            try:
                await admin.start()
                await admin.delete_records({tp: RecordsToDelete(before_offset=first) for tp in self._tps})
            finally:
                await admin.close()

    async def _known(
        self, reader: AIOKafkaConsumer, tp: TopicPartition, first: int, take: Callable[[int, int, int, int], None]
    ) -> None:
        def see(record: Any) -> None:
            source = copied_from(record)
            if record.offset < first and record.key == _FILLER:
                return
            if source is None:
                raise Foreign(tp, f"a record at {record.offset}")
            if record.offset < first:
                raise UserMistake(
                    f"{tp.topic} {tp.partition} was begun before the source went on to {first}: delete the target "
                    "flow's topics and begin again, or give it another name"
                )
            take(tp.partition, record.offset, *source)

        self.ends[tp.partition] = await read_all(reader, tp, 0, None, see)

    async def _fill(self, tp: TopicPartition, end: int, first: int) -> None:
        """With records without content, which are deleted at once: Kafka has no other way to begin a log there."""
        waiting: list[tuple[int, asyncio.Future[Any]]] = []
        while end < first:
            batch, at = self._producer.create_batch(), end
            now = round(time.time() * 1000)
            while end < first and batch.append(timestamp=now, key=_FILLER, value=None) is not None:
                end += 1
            waiting.append((at, await self._producer.send_batch(batch, tp.topic, partition=tp.partition)))
            if len(waiting) >= _FILLERS_TOGETHER or end >= first:
                for expected, sent in waiting:
                    if (await sent).offset != expected:
                        raise Foreign(tp, f"a record at {expected}")
                waiting.clear()
        self.ends[tp.partition] = end

    async def append(
        self,
        number: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        timestamp: int,
        source: tuple[int, int],
    ) -> int:
        """Its offset. Raises Foreign, KafkaError, also for an earlier one."""
        at, tp = self.ends[number], self._tps[number]
        said = [*(one for one in headers if one[0] != Headers.COPIED), (Headers.COPIED, b"%d/%d" % source)]
        sent = await self._producer.send(self.topic, value, key, number, timestamp_ms=timestamp, headers=said)
        self._waiting.append((tp, at, sent))
        self.ends[number] = at + 1
        if len(self._waiting) >= _TOGETHER:
            await self.acknowledged()
        return at

    async def acknowledged(self) -> None:
        """Kafka has all of it. Raises Foreign, KafkaError."""
        waiting, self._waiting = self._waiting, []
        for tp, at, sent in waiting:
            if (await sent).offset != at:
                raise Foreign(tp, f"a record at {at}")

    async def alone(self, reader: AIOKafkaConsumer) -> None:
        """Nothing else was appended meanwhile. Raises Foreign, KafkaError."""
        for tp, end in (await reader.end_offsets(self._tps)).items():
            if end != self.ends[tp.partition]:
                raise Foreign(tp, f"records at and after {self.ends[tp.partition]}")

    def __iter__(self) -> Iterator[TopicPartition]:
        return iter(self._tps)
