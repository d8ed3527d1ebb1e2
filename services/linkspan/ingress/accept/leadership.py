"""Which replica serves a source: the one that owns the source's partition of ``<integration>.sources``.

The group elects it. It confirms itself with a group commit every 3 s; when none succeeded for 10 s, counted from the
sending, the source is given back (its connection closed, its feed no longer read), because another replica may have
been elected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.kernel.kafka.clients import KafkaClients

log = structlog.get_logger()

CONFIRM_EVERY, CONFIRM_LIMIT, CONFIRMED_FOR = 3.0, 2.0, 10.0


class Source(Protocol):
    """Whatever one replica does for all."""

    async def run(self) -> None:
        """Until it is cancelled."""


class Leadership(ConsumerRebalanceListener):  # type: ignore[misc]
    """``sources`` in the order of their partitions; ``session`` in seconds.

    A topic with fewer partitions, made before a source was added, gives several sources to the owner of one.
    """

    def __init__(
        self, clients: KafkaClients, group: str, topic: str, sources: Sequence[Source], session: float
    ) -> None:
        self._clients, self._group, self._topic, self._sources = clients, group, topic, sources
        self._session = session
        #: ``consumer.assignment()`` is the old one until a rebalance ends: what it revoked would be held again.
        self._mine: set[TopicPartition] = set()
        self._held: dict[TopicPartition, asyncio.Task[None]] = {}

    async def run(self) -> None:
        while True:
            consumer = self._clients.consumer(
                group_id=self._group,
                enable_auto_commit=False,
                auto_offset_reset="latest",
                session_timeout_ms=int(self._session * 1000),
                heartbeat_interval_ms=int(min(3.0, self._session / 3) * 1000),
                rebalance_timeout_ms=int(self._session * 1000),
                max_poll_interval_ms=7 * 24 * 3600 * 1000,
            )
            try:
                await self._take_part(consumer)
            except Exception as error:  # noqa: BLE001 - an election that breaks is held again
                log.warning("no part in electing the sources' holder", reason=str(error) or type(error).__name__)
            finally:
                self._mine = set()
                await self._close()
                await _stop(consumer)
            await asyncio.sleep(1)

    async def _take_part(self, consumer: AIOKafkaConsumer) -> None:
        async with asyncio.timeout(15):
            await consumer.start()
        consumer.subscribe([self._topic], listener=self)
        poll = asyncio.create_task(_poll(consumer))
        try:
            await self._confirm(consumer, poll)
        finally:
            poll.cancel()
            await asyncio.gather(poll, return_exceptions=True)

    async def _confirm(self, consumer: AIOKafkaConsumer, poll: asyncio.Task[None]) -> None:
        """Until ``poll`` fails: raises what it did."""
        loop = asyncio.get_running_loop()
        confirmed = loop.time()
        while not poll.done():
            sent = loop.time()
            wanted = self._mine
            self._drop_ended()
            if await _commit(consumer, wanted):
                confirmed = sent
                self._hold(wanted & self._mine, len(consumer.partitions_for_topic(self._topic) or ()))
            elif self._held and loop.time() - confirmed > CONFIRMED_FOR - CONFIRM_EVERY - CONFIRM_LIMIT:
                log.warning("not confirmed as the sources' holder: giving them back")
                await self._close()
            await asyncio.sleep(CONFIRM_EVERY if self._held else 0.5)
        poll.result()

    def _hold(self, partitions: set[TopicPartition], count: int) -> None:
        for partition in partitions - self._held.keys():
            mine = [one for index, one in enumerate(self._sources) if index % max(1, count) == partition.partition]
            if mine:
                self._held[partition] = asyncio.create_task(_serve(mine))

    def _drop_ended(self) -> None:
        """The next confirmation starts them again."""
        for partition, task in list(self._held.items()):
            if task.done():
                del self._held[partition]
                error = None if task.cancelled() else task.exception()
                log.error("sources ended by themselves", partition=partition.partition, exc_info=error)

    async def _close(self) -> None:
        self._drop_ended()
        tasks = list(self._held.values())
        self._held.clear()
        if tasks:
            log.info("sources given back", sources=len(tasks))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def on_partitions_revoked(self, _revoked: set[TopicPartition]) -> None:
        self._mine = set()
        await self._close()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """The next confirmation opens the connections: no heartbeat is sent while this runs."""
        self._mine = assigned


async def _serve(sources: Sequence[Source]) -> None:
    async with asyncio.TaskGroup() as group:
        for source in sources:
            group.create_task(source.run())


async def _poll(consumer: AIOKafkaConsumer) -> None:
    """Keeps the member alive; what lies in the topic is not read here."""
    while True:
        await consumer.getmany(timeout_ms=1000)


async def _commit(consumer: AIOKafkaConsumer, partitions: set[TopicPartition]) -> bool:
    if not partitions:
        return False
    try:
        async with asyncio.timeout(CONFIRM_LIMIT):
            await consumer.commit(dict.fromkeys(partitions, 0))
    except (KafkaError, TimeoutError):
        return False
    return True


async def _stop(consumer: AIOKafkaConsumer) -> None:
    try:
        async with asyncio.timeout(5):
            await consumer.stop()
    except TimeoutError:
        log.warning("a consumer did not stop in time")
