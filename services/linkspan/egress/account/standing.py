"""Where the owners of a flow's partitions say that they stand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from linkspan.egress.own.clients import KafkaClients
from linkspan.egress.own.position import Position, committed_position
from linkspan.kernel.topics import FlowTopics, egress_group

#: The first to ask for any group on a new Kafka is told that it has no coordinator yet; seconds between tries.
_TRIES, _PAUSE = 10, 0.5


async def standing(clients: KafkaClients, integration: str, flow: str, partition: int) -> Position:
    """Below its position a partition's events are finished; all outcomes about later ones stand from ``outcomes`` on.

    Today that is the group's committed offset; the one place to change when it is kept in ``state``. Raises KafkaError.
    """
    events = TopicPartition(FlowTopics.of(integration, flow).events, partition)
    return await committed_position(clients, egress_group(integration, flow), events)


async def positions(
    clients: KafkaClients, integration: str, flow: str, partitions: Iterable[int]
) -> dict[int, int | None]:
    """Of events alone; None: the partition never had an owner. Raises KafkaError."""
    wanted, tries = tuple(partitions), _TRIES
    while True:
        tries -= 1
        try:
            found = await asyncio.gather(*(standing(clients, integration, flow, partition) for partition in wanted))
        except KafkaError:
            if not tries:
                raise
        else:
            return {partition: position.events for partition, position in zip(wanted, found, strict=True)}
        await asyncio.sleep(_PAUSE)
