"""Where the owners of a flow's partitions say that they stand: the last ``position`` in each ``state``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import cache

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.kafka.published import PublishedSchemas
from linkspan.kernel.records.position import Position
from linkspan.kernel.records.state import POSITION, StateCodec
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas
from linkspan.kernel.topics import FlowTopics

#: A position is written every few seconds, so it stands near the end; where it does not, all is read.
_NEAR_THE_END = 200
_FETCH_MS = 500


async def standing(clients: KafkaClients, integration: str, flow: str, partition: int) -> Position | None:
    """Below its ``events`` a partition's events are finished, and those of ``finished`` above; all outcomes about other
    ones stand from ``outcomes`` on. None: the partition never had an owner. Raises KafkaError, Poison."""
    state = TopicPartition(FlowTopics.of(integration, flow).state, partition)
    reader = clients.reader()
    try:
        await reader.start()
        reader.assign([state])
        first = (await reader.beginning_offsets([state]))[state]
        end = (await reader.end_offsets([state]))[state]
        found = await _last(reader, state, max(first, end - _NEAR_THE_END), end)
        found = found or await _last(reader, state, first, end)
    finally:
        await stop_consumer(reader)
    return None if found is None else await _read(clients, integration, found)


async def _read(clients: KafkaClients, integration: str, value: bytes) -> Position:
    codec = StateCodec(_catalog())
    await PublishedSchemas(clients, integration, _catalog()).learn(codec, value)
    return codec.decode(value)


async def positions(
    clients: KafkaClients, integration: str, flow: str, partitions: Iterable[int]
) -> dict[int, int | None]:
    """Of events alone; None: the partition never had an owner. Raises KafkaError, Poison."""
    wanted = tuple(partitions)
    found = await asyncio.gather(*(standing(clients, integration, flow, partition) for partition in wanted))
    return {partition: None if one is None else one.events for partition, one in zip(wanted, found, strict=True)}


async def _last(reader: AIOKafkaConsumer, state: TopicPartition, start: int, end: int) -> bytes | None:
    reader.seek(state, start)
    value: bytes | None = None
    while await reader.position(state) < end:
        for record in (await reader.getmany(state, timeout_ms=_FETCH_MS)).get(state, ()):
            value = record.value if record.key == POSITION else value
    return value


@cache
def _catalog() -> SchemaCatalog:
    return SchemaCatalog(packaged_schemas())
