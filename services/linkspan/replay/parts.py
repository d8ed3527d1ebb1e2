"""Work on each partition's part of a plan, some at a time, each with a reader of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from aiokafka import AIOKafkaConsumer

from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.records.plan import PlanPart

_AT_ONCE = 4


async def each_part(
    clients: KafkaClients, parts: Iterable[PlanPart], work: Callable[[AIOKafkaConsumer, PlanPart], Awaitable[None]]
) -> None:
    """The first that fails ends the others. Raises what ``work`` does, and KafkaError."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(part: PlanPart) -> None:
        async with turns:
            reader = clients.past()
            try:
                await reader.start()
                await work(reader, part)
            finally:
                await stop_consumer(reader)

    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(one(part))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
