"""Reading a partition from somewhere to its end, without a group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition


async def read_all(
    reader: AIOKafkaConsumer, partition: TopicPartition, start: int, end: int | None, take: Callable[[Any], None]
) -> int:
    """Everything from ``start``, or the log's beginning, to ``end``, which is returned. Raises KafkaError.

    ``end`` None: the log's end now.
    """
    reader.assign([partition])
    first = (await reader.beginning_offsets([partition]))[partition]
    if end is None:
        end = (await reader.end_offsets([partition]))[partition]
    reader.seek(partition, max(start, first))
    while await reader.position(partition) < end:
        found = await reader.getmany(partition, timeout_ms=1000, max_records=5000)
        for record in found.get(partition, ()):
            if record.offset < end:
                take(record)
    return int(end)
