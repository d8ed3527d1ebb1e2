"""What ``parked`` holds: dead letters that wait for a decision, and how many messages wait behind each."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.kernel.errors import KafkaAway, UserMistake
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.kafka.reading import read_all, topics_there
from linkspan.kernel.records.parked import Copy
from linkspan.kernel.topic_admin import ANSWER
from linkspan.kernel.topics import FlowTopics, Headers

#: What differs between letters that died of the same: ids, numbers, what is quoted.
_OWN = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|'[^']*'|\"[^\"]*\"|\d+")


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

    @property
    def fingerprint(self) -> str:
        """The same for letters of a class whose reasons differ only in ids, numbers and quoted words."""
        return blake2b(f"{self.failure} {_OWN.sub('#', self.reason)}".encode(), digest_size=5).hexdigest()


async def letters(clients: KafkaClients, integration: str, flow: str, partitions: int) -> list[Letter]:
    """In the order of partition and event. Raises KafkaAway, or UserMistake where the topic is missing."""
    async with _reading(clients, integration, flow) as (reader, topic):
        read = [await _copies(reader, TopicPartition(topic, partition)) for partition in range(partitions)]
    return [letter for partition, copies in enumerate(read) for letter in _letters(flow, partition, copies)]


async def letter(
    clients: KafkaClients, integration: str, flow: str, partition: int, offset: int
) -> tuple[Letter, Copy] | None:
    """One with its content; None where the event ``offset`` is no dead letter. Raises as ``letters`` does."""
    async with _reading(clients, integration, flow) as (reader, topic):
        copies = await _copies(reader, TopicPartition(topic, partition), whole=offset)
    found = next((one for one in _letters(flow, partition, copies) if one.offset == offset), None)
    return None if found is None else (found, copies[offset])


@asynccontextmanager
async def _reading(clients: KafkaClients, integration: str, flow: str) -> AsyncIterator[tuple[AIOKafkaConsumer, str]]:
    topic = FlowTopics.of(integration, flow).parked
    reader = clients.reader()
    try:
        async with asyncio.timeout(ANSWER):
            await reader.start()
            if topic not in await topics_there(reader):
                raise UserMistake(f"Kafka has no topic {topic}; linkspan topics makes it")
        yield reader, topic
    except (KafkaError, TimeoutError, OSError) as error:
        said = "" if isinstance(error, TimeoutError) else f" ({error})"
        raise KafkaAway(f"Kafka does not answer{said}; is it running, and is MESSAGE_QUEUE_URL right?") from error
    finally:
        await stop_consumer(reader)


async def _copies(reader: AIOKafkaConsumer, parked: TopicPartition, whole: int = -1) -> dict[int, Copy]:
    """Headers alone, but for the event ``whole``."""
    copies: dict[int, Copy] = {}

    def take(record: Any) -> None:
        copy = Copy(record)
        copies.pop(copy.offset, None)
        if not copy.gone:
            copies[copy.offset] = copy if copy.offset == whole else copy.without_content()

    await read_all(reader, parked, 0, None, take, patience=ANSWER)
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
