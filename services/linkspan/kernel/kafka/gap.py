"""Leaves offsets of a log out, so that no message gets one that something already names.

A transaction without records leaves a marker, which takes an offset and which no reader is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer, stop_producer

#: Transactions at a time; each takes some 10 ms, most of it waiting.
_TOGETHER = 16
#: So often, and every so many seconds, it is looked whether markers are there, before more are written.
_LOOKS, _LOOK = 200, 0.05


async def leave_out(
    clients: KafkaClients, targets: Mapping[TopicPartition, int], name: str
) -> dict[TopicPartition, int]:
    """Until the log of each partition ends at its target or later; where they end then. ``name``: of the transactions.
    Raises KafkaError."""
    reader = clients.reader()
    try:
        await reader.start()
        while left := _left(targets, await reader.end_offsets(list(targets))):
            producers = [clients.transactional(f"{name}.{n}") for n in range(min(_TOGETHER, max(left.values())))]
            try:
                await asyncio.gather(*(_write(producer, left) for producer in producers))
            finally:
                await asyncio.gather(*(stop_producer(producer) for producer in producers))
            await _written(reader, targets)
        return {tp: int(end) for tp, end in (await reader.end_offsets(list(targets))).items()}
    finally:
        await stop_consumer(reader)


async def _written(reader: AIOKafkaConsumer, targets: Mapping[TopicPartition, int]) -> None:
    """Markers are written after a commit has been answered: looked at too early, more would be left out."""
    for _ in range(_LOOKS):
        if not _left(targets, await reader.end_offsets(list(targets))):
            return
        await asyncio.sleep(_LOOK)


def _left(targets: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
    return {tp: target - ends[tp] for tp, target in targets.items() if target > ends[tp]}


async def _write(producer: AIOKafkaProducer, left: dict[TopicPartition, int]) -> None:
    await producer.start()
    while taken := [tp for tp, count in left.items() if count > 0]:
        for tp in taken:
            left[tp] -= 1
        await producer.begin_transaction()
        for tp in taken:
            # There is no public way to name a partition without a record.
            producer._txn_manager.maybe_add_partition_to_txn(tp)  # noqa: SLF001
        await producer.commit_transaction()
