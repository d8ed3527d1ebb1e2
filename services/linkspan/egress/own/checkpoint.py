"""What a checkpoint writes: all of it in one transaction."""

from __future__ import annotations

from aiokafka import TopicPartition

from linkspan.egress.own.context import FlowContext
from linkspan.egress.own.store import Writing
from linkspan.egress.partition.memory import Memory
from linkspan.kernel.records.parked import copy_key
from linkspan.kernel.records.position import Position
from linkspan.kernel.records.state import HOLD, IDS, POSITION


def checkpoint_records(flow: FlowContext, partition: int, position: Position, memory: Memory) -> list[Writing]:
    """What changed since the last, so that a copy is deleted exactly when its hold says that it is through."""
    topics, codec = flow.topics, flow.states
    state, parked = TopicPartition(topics.state, partition), TopicPartition(topics.parked, partition)
    records: list[Writing] = [
        (state, HOLD + key, codec.encode_hold(hold), []) for key, hold in memory.holds.changed().items()
    ]
    records += [
        (state, IDS + b"%d" % place, codec.encode_ids(serial, entries), [])
        for place, serial, entries in memory.ids.changed()
    ]
    records += [(parked, copy_key(offset), None, []) for offset in memory.holds.resolved()]
    return [*records, (state, POSITION, codec.encode(position), [])]
