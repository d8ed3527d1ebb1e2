"""A small mirror: copies topics to another Kafka record by record, as MirrorMaker does; markers stay behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.topics import MAX_RECORD_BYTES


async def mirror(source: str, target: str, topics: Mapping[str, int], cut: Mapping[str, int] | None = None) -> None:
    """``topics``: partitions of each, there already. ``cut``: how many of the newest records of each partition of a
    topic are lost, by the last word of its name."""
    reader = AIOKafkaConsumer(
        bootstrap_servers=source,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(bootstrap_servers=target, acks="all", max_request_size=2 * MAX_RECORD_BYTES)
    await asyncio.gather(reader.start(), producer.start())
    try:
        for topic, partitions in topics.items():
            lost = (cut or {}).get(topic.rsplit(".", 1)[-1], 0)
            for number in range(partitions):
                records: list[object] = []
                await read_all(reader, TopicPartition(topic, number), 0, None, records.append)
                await _write(producer, topic, number, records[: max(0, len(records) - lost)])
    finally:
        await asyncio.gather(reader.stop(), producer.stop())


async def _write(producer: AIOKafkaProducer, topic: str, number: int, records: list[object]) -> None:
    sent = []
    for one in records:
        said = {"partition": number, "timestamp_ms": one.timestamp, "headers": list(one.headers)}  # type: ignore[attr-defined]
        sent.append(await producer.send(topic, one.value, one.key, **said))  # type: ignore[attr-defined]
    await asyncio.gather(*sent)
