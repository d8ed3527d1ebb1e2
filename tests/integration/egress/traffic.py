"""Messages of other keys that go on coming, as in a system that is in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from tests.integration.egress.bridge import Bridge, order_id

from linkspan.kernel.topics import partition_of

#: Its keys are above those of the tests.
FIRST_KEY = 1_000


class Traffic:
    """``sent``: (order id, line) so far; all of them after ``end``."""

    def __init__(self, made: Bridge, keys: int, every: float) -> None:
        self._made, self._keys, self._every = made, keys, every
        self.sent: list[tuple[str, int]] = []
        self._ended = False
        self._task = asyncio.create_task(self._run())

    async def end(self) -> None:
        self._ended = True
        await self._task

    async def _run(self) -> None:
        made, number = self._made, 0
        async with AIOKafkaProducer(bootstrap_servers=made.bootstrap, acks="all") as producer:
            while not self._ended:
                key, line = order_id(FIRST_KEY + number % self._keys), number // self._keys
                value, headers = made.event(key, line)
                partition = partition_of(key.encode(), made.partitions)
                await producer.send_and_wait(made.topics.events, value, key.encode(), partition, headers=headers)
                self.sent.append((key, line))
                number += 1
                await asyncio.sleep(self._every)


@asynccontextmanager
async def traffic(made: Bridge, keys: int = 6, every: float = 0.03) -> AsyncIterator[Traffic]:
    """A message each ``every`` seconds until left."""
    going = Traffic(made, keys, every)
    try:
        yield going
    finally:
        await going.end()


def most_in_a_second(times: list[float]) -> int:
    """The most of these times that lie within one second."""
    return max((sum(1 for at in times if start <= at < start + 1) for start in times), default=0)
