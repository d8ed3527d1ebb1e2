"""Requests, their answers and the outcomes of both, for as long as it runs."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from tests.integration.insight.logbook import ANSWERS, ASKS, Logbook, correlation

from linkspan.kernel.message import now_micros

MINUTE = 60_000_000
_BATCH = 8
_PAUSE = 0.2
#: Batches; those after them are of one conversation, so that a slow machine has no more to read at the end.
_FULL = 150


class Traffic:
    """Of a request that is six minutes old, of five minutes' patience, the answer may be in time, late or missing;
    one that is new can wait for it. An answer may come first, twice, and with another id."""

    def __init__(self, log: Logbook) -> None:
        self._log, self._random, self.ended = log, random.Random(3), False

    async def run(self) -> None:
        async with self._log.producer() as producer:
            for flow in (ASKS, ANSWERS):
                for partition in range(self._log.partitions):
                    await self._log.take_over(producer, flow, partition)
            for number in itertools.takewhile(lambda _: not self.ended, itertools.count()):
                sent = [
                    one for _ in range(_BATCH if number < _FULL else 1) for one in await self._conversation(producer)
                ]
                for flow, waiting in sent:
                    said = await waiting
                    await self._log.decide(producer, flow, said.partition, said.offset)
                if self._random.random() < 0.1:
                    await self._log.take_over(producer, ASKS, self._random.randrange(self._log.partitions))
                await producer.flush()
                await asyncio.sleep(_PAUSE)

    async def _conversation(self, producer: AIOKafkaProducer) -> list[tuple[str, asyncio.Future[object]]]:
        dice, now, about = self._random.random(), now_micros(), correlation()
        asked = now if dice < 0.1 or dice > 0.9 else now - 6 * MINUTE
        said = [(ASKS, asked)]
        if dice < 0.75:
            said.append((ANSWERS, now if dice > 0.5 else asked + 2 * MINUTE))
        if dice < 0.2:
            said.reverse()
        if dice < 0.05:
            said.append((ANSWERS, now + MINUTE))
        return [(flow, await self._log.append(producer, flow, about, at=min(at, now))) for flow, at in said]


@asynccontextmanager
async def traffic(log: Logbook) -> AsyncIterator[Traffic]:
    """Until left; what it said stands in the log then."""
    going = Traffic(log)
    task = asyncio.create_task(going.run())
    try:
        yield going
    finally:
        going.ended = True
        await task
