"""One flow's membership of its group: partitions come and go, positions are committed."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.egress.own.clients import stop_consumer
from linkspan.egress.own.owner import FlowContext, PartitionOwner
from linkspan.egress.own.position import Position

log = structlog.get_logger()

#: Seconds between commits, and how long one may take: it "retries across a rejoin".
_COMMIT_EVERY, _COMMIT_LIMIT = 2.0, 1.5
#: A revoked partition's attempts get so long to end, well inside the session timeout, seconds.
_REVOKE_LIMIT = 5.0
#: A stopping member's, seconds.
_STOP_LIMIT = 10.0


class FlowMember(ConsumerRebalanceListener):  # type: ignore[misc]
    """``run`` until cancelled or ``stop``; comes back by itself when Kafka was away."""

    def __init__(self, flow: FlowContext) -> None:
        self._flow = flow
        self._consumer: AIOKafkaConsumer | None = None
        self._owners: dict[int, PartitionOwner] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._committed: dict[int, Position] = {}
        self._trouble: str | None = "not yet a member of the group"
        self.joined = asyncio.Event()

    def trouble(self) -> str | None:
        """None while this member is in its group and Kafka answers."""
        return self._trouble

    @property
    def partitions(self) -> list[int]:
        """Those that are delivered from here."""
        return sorted(partition for partition, owner in self._owners.items() if owner.active)

    async def run(self) -> None:
        wait = 0.5
        while True:
            consumer = self._flow.clients.group(self._flow.group, fetch_max_wait_ms=200)
            consumer.subscribe([self._flow.topics.events], listener=self)
            self._consumer = consumer
            try:
                await consumer.start()
                wait = 0.5
                await self._watch(consumer)
            except (KafkaError, OSError) as error:
                self._trouble = f"Kafka: {error}"
                log.warning("not a member", flow=self._flow.name, error=repr(error))
            finally:
                self._drop()
                self._consumer = None
                await stop_consumer(consumer)
            await asyncio.sleep(wait)
            wait = min(5.0, wait * 2)

    async def _watch(self, consumer: AIOKafkaConsumer) -> None:
        """Commits; asks for errors, and counts as polling also while no partition is ours."""
        nothing = TopicPartition(self._flow.topics.events, -1)
        while True:
            await asyncio.sleep(_COMMIT_EVERY)
            with suppress(TimeoutError):
                await asyncio.wait_for(consumer.getmany(nothing), 1)
            await self._commit(consumer)

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        changed = {}
        for partition, owner in tuple(self._owners.items()):
            position = await owner.position() if owner.active else None
            if position is not None and position != self._committed.get(partition):
                changed[partition] = position
        try:
            await self._send(consumer, changed)
            self._committed |= {partition: changed[partition] for partition in changed if partition in self._owners}
            self._trouble = None if self.joined.is_set() else "not yet a member of the group"
        except (KafkaError, TimeoutError) as error:
            self._trouble = f"Kafka takes no commit: {error!r}"
            log.debug("commit failed", flow=self._flow.name, error=repr(error))

    async def _send(self, consumer: AIOKafkaConsumer, changed: dict[int, Position]) -> None:
        topic = self._flow.topics.events
        assigned = consumer.assignment()
        offsets = {
            TopicPartition(topic, partition): position.committable()
            for partition, position in changed.items()
            if TopicPartition(topic, partition) in assigned
        }
        if offsets:
            await asyncio.wait_for(consumer.commit(offsets), _COMMIT_LIMIT)
        else:
            await asyncio.wait_for(consumer.end_offsets([TopicPartition(topic, 0)]), _COMMIT_LIMIT)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Ends attempts quickly and records their outcomes; commits nothing any more."""
        leaving = [self._owners[tp.partition] for tp in revoked if tp.partition in self._owners]
        self._committed.clear()
        if leaving:
            await asyncio.gather(*(owner.drain(_REVOKE_LIMIT) for owner in leaving))
        self._drop()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """No heartbeat is sent while this runs: taking over happens in tasks."""
        consumer = self._consumer
        self._drop()
        if consumer is None:
            return
        for tp in assigned:
            consumer.pause(tp)
            consumer.seek(tp, 0)
            owner = PartitionOwner(self._flow, consumer, tp.partition)
            self._owners[tp.partition] = owner
            self._tasks[tp.partition] = asyncio.create_task(owner.run())
        self._trouble = None
        self.joined.set()
        log.info("partitions assigned", flow=self._flow.name, partitions=sorted(tp.partition for tp in assigned))

    def _drop(self) -> None:
        for owner in self._owners.values():
            owner.stop_attempts()
        for task in self._tasks.values():
            task.cancel()
        self._owners, self._tasks = {}, {}

    async def stop(self) -> None:
        """Ends attempts, records, commits; ``run`` is to be cancelled afterwards."""
        owners = list(self._owners.items())
        await asyncio.gather(*(owner.drain(_STOP_LIMIT) for _, owner in owners))
        if self._consumer is not None:
            positions = {partition: await owner.position() for partition, owner in owners}
            with suppress(KafkaError, TimeoutError):
                await self._send(self._consumer, {p: found for p, found in positions.items() if found is not None})
