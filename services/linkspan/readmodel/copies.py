"""Flows that take the place of another one, and do not have all of it yet: they must not run."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.kernel.errors import Poison
from linkspan.kernel.kafka.clients import KafkaClients, started_reader, stop_consumer
from linkspan.kernel.kafka.reading import read_all, topics_there
from linkspan.kernel.records.copied import CopyMark
from linkspan.kernel.records.state import COPIED, StateCodec
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.topics import FlowTopics


async def unfinished_copies(
    clients: KafkaClients, integration: Integration, catalog: SchemaCatalog
) -> AsyncIterator[tuple[str, str]]:
    """(flow, the one that it is copied from) of those in the file. Raises KafkaError."""
    wanted = {name: flow.copied_from for name, flow in integration.flows.items() if flow.copied_from}
    if not wanted:
        return
    reader = await started_reader(clients.reader())
    try:
        there = await topics_there(reader)
        for name, source in wanted.items():
            topics = FlowTopics.of(integration.integration, name)
            if FlowTopics.of(integration.integration, source).events not in there:
                continue  # a new Kafka: there is nothing to copy
            mark = await mark_of(reader, topics.state, StateCodec(catalog)) if topics.state in there else None
            if mark is None or not mark.done:
                yield name, source
    finally:
        await stop_consumer(reader)


async def mark_of(reader: AIOKafkaConsumer, state: str, codec: StateCodec, partition: int = 0) -> CopyMark | None:
    """What ``linkspan repartition`` left in this partition of ``state``. Raises KafkaError."""
    found: list[bytes | None] = [None]

    def take(record: object) -> None:
        if getattr(record, "key", None) == COPIED:
            found[0] = getattr(record, "value", None)

    await read_all(reader, TopicPartition(state, partition), 0, None, take)
    try:
        return None if found[0] is None else codec.decode_mark(found[0])
    except Poison:
        return None
