"""Reading a partition from somewhere to its end, without a group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

#: So many seconds without anything new end a reading: Kafka's own clients give a request up after 40.
PATIENCE = 40
_WAIT_MS = 1000
_AGAIN = 0.25


async def topics_there(reader: AIOKafkaConsumer, patience: float = 10) -> set[str]:
    """Their names. A Kafka whose brokers are just coming back names none of them for a moment, and is asked again for
    ``patience`` seconds. Raises KafkaError."""
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            return set(await reader.topics())
        except KafkaError:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(_AGAIN)


async def read_all(
    reader: AIOKafkaConsumer,
    partition: TopicPartition,
    start: int,
    end: int | None,
    take: Callable[[Any], None],
    most: int = 5000,
    patience: int = PATIENCE,
) -> int:
    """Everything from ``start``, or the log's beginning, to ``end``, which is returned. Raises KafkaError.

    ``end`` None: the log's end now, to a reader of what is committed where the oldest open transaction begins. After
    ``most`` records the event loop has its turn. KafkaTimeoutError: nothing came for ``patience`` seconds.
    """
    reader.assign([partition])
    try:
        async with asyncio.timeout(patience):
            first = (await reader.beginning_offsets([partition]))[partition]
            if end is None:
                end = (await reader.end_offsets([partition]))[partition]
    except TimeoutError:
        raise _stuck(partition, "its beginning and end were not said", patience) from None
    reader.seek(partition, max(start, first))
    at, vain = -1, 0
    while (now := await reader.position(partition)) < end:
        at, vain = (at, vain + 1) if now == at else (now, 0)
        if vain * _WAIT_MS >= patience * 1000:
            raise _stuck(partition, f"nothing came from offset {at} on, and it ends at {end}", patience)
        found = await reader.getmany(partition, timeout_ms=_WAIT_MS, max_records=most)
        for record in found.get(partition, ()):
            if record.offset < end:
                take(record)
    return int(end)


def _stuck(partition: TopicPartition, what: str, seconds: int) -> KafkaTimeoutError:
    return KafkaTimeoutError(f"{partition.topic} {partition.partition}: {what}, within {seconds} s")
