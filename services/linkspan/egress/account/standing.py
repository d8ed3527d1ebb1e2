"""Where the owners of a flow's partitions say that they stand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiokafka import TopicPartition

from linkspan.egress.own.clients import KafkaClients
from linkspan.egress.own.position import committed_position
from linkspan.kernel.topics import FlowTopics, egress_group


async def positions(
    clients: KafkaClients, integration: str, flow: str, partitions: Iterable[int]
) -> dict[int, int | None]:
    """Below its position a partition's events are finished; None: it never had an owner. Raises KafkaError.

    Today that is the group's committed offset; the one place to change when it is kept in ``state``.
    """
    group, topic = egress_group(integration, flow), FlowTopics.of(integration, flow).events

    async def one(partition: int) -> int | None:
        return (await committed_position(clients, group, TopicPartition(topic, partition))).events

    wanted = tuple(partitions)
    return dict(zip(wanted, await asyncio.gather(*map(one, wanted)), strict=True))
