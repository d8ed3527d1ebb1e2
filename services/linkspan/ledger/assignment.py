"""Which partitions this worker folds: its group shares out those of all flows' events. The group keeps no offsets."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.topics import ledger_group
from linkspan.ledger.gather import Topics

log = structlog.get_logger()

_LOOK = 1.0
#: Topics that are missing are looked for so often, seconds.
_MISSING = 5.0


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """``run`` until cancelled. ``current`` is None between assignments; ``changed`` is set at each change."""

    def __init__(self, clients: KafkaClients, integration: str, topics: Topics) -> None:
        self._clients, self._group, self._topics = clients, ledger_group(integration), topics
        self._consumer: AIOKafkaConsumer | None = None
        self.current: frozenset[TopicPartition] | None = None
        self.changed = asyncio.Event()
        self.trouble: str | None = "not yet a member of the group"

    async def run(self) -> None:
        wait = 0.5
        while True:
            consumer = self._clients.group(self._group, fetch_max_wait_ms=200)
            try:
                wanted = await self._wanted()
                self._consumer = consumer
                consumer.subscribe(wanted, listener=self)
                await consumer.start()
                wait = 0.5
                await self._stay(consumer, wanted)
            except (KafkaError, OSError, TimeoutError) as error:
                self.trouble = f"Kafka: {error}"
                log.warning("not a member", group=self._group, error=repr(error))
            finally:
                self._gone()
                self._consumer = None
                await stop_consumer(consumer)
            await asyncio.sleep(wait)
            wait = min(5.0, wait * 2)

    async def _wanted(self) -> list[str]:
        """Waits until the flows' topics are there; conversations are taken where there are any."""
        reader = self._clients.reader()
        try:
            await reader.start()
            while missing := sorted(self._topics.flow_of.keys() - await reader.topics()):
                self.trouble = f"Kafka has no topic {missing[0]}; linkspan topics makes it"
                await asyncio.sleep(_MISSING)
            there = await reader.topics()
        finally:
            await stop_consumer(reader)
        return sorted(there & {*self._topics.flow_of, self._topics.conversations})

    async def _stay(self, consumer: AIOKafkaConsumer, wanted: list[str]) -> None:
        """Errors come out of ``getmany``; what it would give is read elsewhere. Ends where there is more to have."""
        nothing = TopicPartition(wanted[0], -1)
        looks = 0
        while True:
            await asyncio.sleep(_LOOK)
            # Not wait_for: Python 3.11's forgets that it was cancelled where the answer is there by then.
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await consumer.getmany(nothing)
            looks += 1
            looked_for = self._topics.conversations not in wanted and looks % 60 == 0
            if looked_for and self._topics.conversations in await consumer.topics():
                return

    async def on_partitions_revoked(self, _revoked: set[TopicPartition]) -> None:
        self._gone()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        for tp in assigned:
            consumer.pause(tp)
            consumer.seek(tp, 0)
        self.current, self.trouble = frozenset(assigned), None
        self.changed.set()
        log.info("partitions assigned", partitions=sorted(f"{tp.topic}[{tp.partition}]" for tp in assigned))

    def _gone(self) -> None:
        self.current = None
        self.changed.set()
