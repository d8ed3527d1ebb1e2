"""Reads the outcomes of a partition to their end before anything is delivered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.egress.own.clients import KafkaClients
from linkspan.egress.own.position import Position
from linkspan.egress.partition.memory import Memory
from linkspan.kernel.topics import FlowTopics, Headers

_OFFSET, _KIND = Headers.OFFSET, Headers.KIND


@dataclass(frozen=True, slots=True)
class Past:
    """What a former owner left. ``start``: the first event to fetch; ``end``: the log's end now; ``lost``: events
    between the commit and the log's beginning, gone by retention."""

    memory: Memory
    start: int
    end: int
    lost: int


async def read_past(clients: KafkaClients, topics: FlowTopics, partition: int, position: Position) -> Past:
    """Raises KafkaError."""
    events, outcomes = TopicPartition(topics.events, partition), TopicPartition(topics.outcomes, partition)
    reader = clients.reader()
    try:
        await reader.start()
        first = await reader.beginning_offsets([events, outcomes])
        last = await reader.end_offsets([events, outcomes])
        wanted = first[events] if position.events is None else position.events
        start = max(wanted, first[events])
        memory = Memory()
        await _fold(reader, outcomes, max(position.outcomes, first[outcomes]), last[outcomes], memory, start)
    finally:
        await reader.stop()
    return Past(memory, start, last[events], start - wanted)


async def _fold(
    reader: AIOKafkaConsumer, outcomes: TopicPartition, start: int, end: int, memory: Memory, position: int
) -> None:
    reader.assign([outcomes])
    reader.seek(outcomes, start)
    while await reader.position(outcomes) < end:
        found = await reader.getmany(outcomes, timeout_ms=1000, max_records=5000)
        for record in found.get(outcomes, ()):
            _fold_one(memory, record, position)
    memory.read_to(end)


def _fold_one(memory: Memory, record: Any, position: int) -> None:
    """Headers say all that is needed; an outcome of a replay is not about the message's own delivery."""
    headers = dict(record.headers)
    offset, kind = headers.get(_OFFSET, b""), headers.get(_KIND, b"")
    if offset.isdigit() and Headers.PLAN not in headers:
        memory.fold(record.offset, kind.decode("ascii", "replace"), int(offset), position)
