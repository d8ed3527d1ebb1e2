"""What ``parked`` holds: dead letters that wait for a decision, and how many messages wait behind each."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.parked import Copy
from linkspan.kernel.topic_admin import ANSWER, KafkaAway
from linkspan.kernel.topics import FlowTopics, Headers


@dataclass(frozen=True, slots=True)
class Letter:
    """``offset``: of its event; ``at``: microseconds since 1970; ``waiting``: messages of its key behind it."""

    flow: str
    partition: int
    offset: int
    key: str | None
    message_id: str
    correlation_id: str
    failure: str
    reason: str
    attempts: int
    at: int
    waiting: int

    @property
    def name(self) -> str:
        """As commands name it."""
        return f"{self.partition}:{self.offset}"


async def letters(clients: KafkaClients, integration: str, flow: str, partitions: int) -> list[Letter]:
    """In the order of partition and event. Raises KafkaAway, or UserMistake where the topic is missing."""
    topic = FlowTopics.of(integration, flow).parked
    reader = clients.reader()
    try:
        async with asyncio.timeout(ANSWER):
            await reader.start()
            if topic not in await reader.topics():
                raise UserMistake(f"Kafka has no topic {topic}; linkspan topics makes it")
        read = [await _copies(reader, TopicPartition(topic, partition)) for partition in range(partitions)]
    except (KafkaError, TimeoutError, OSError) as error:
        said = "" if isinstance(error, TimeoutError) else f" ({error})"
        raise KafkaAway(f"Kafka does not answer{said}; is it running, and is MESSAGE_QUEUE_URL right?") from error
    finally:
        await reader.stop()
    return [letter for partition, copies in enumerate(read) for letter in _letters(flow, partition, copies)]


async def _copies(reader: AIOKafkaConsumer, parked: TopicPartition) -> dict[int, Copy]:
    copies: dict[int, Copy] = {}

    def take(record: Any) -> None:
        copy = Copy(record)
        copies.pop(copy.offset, None)
        if not copy.gone:
            copies[copy.offset] = copy.without_content()

    await read_all(reader, parked, 0, None, take)
    return copies


def _letters(flow: str, partition: int, copies: dict[int, Copy]) -> list[Letter]:
    waiting = Counter(copy.key for copy in copies.values() if not copy.dead)
    return [
        Letter(
            flow,
            partition,
            offset,
            copy.key.decode("utf-8", "replace") if copy.key is not None else None,
            copy.said(Headers.MESSAGE_ID),
            copy.said(Headers.CORRELATION_ID),
            copy.said(Headers.PARKED_FAILURE),
            copy.said(Headers.PARKED_REASON),
            int(copy.said(Headers.PARKED_ATTEMPTS) or 0),
            int(copy.said(Headers.PARKED_AT) or 0),
            waiting[copy.key],
        )
        for offset, copy in sorted(copies.items())
        if copy.dead
    ]
