"""One flow's membership of its group: partitions come and go, the lease of their owners is renewed."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaError

from linkspan.control.fold import ControlState
from linkspan.egress.own.assignor import VersionedAssignor
from linkspan.egress.own.context import FlowContext
from linkspan.egress.own.membership import CommitRefused, Membership
from linkspan.egress.own.owner import PartitionOwner
from linkspan.egress.own.store import StateLost
from linkspan.kernel.kafka.clients import stop_consumer

log = structlog.get_logger()

#: A revoked partition's attempts get so long to end, well inside the session timeout, seconds.
_REVOKE_LIMIT = 5.0
#: A stopping member's, seconds; and its last checkpoints.
_STOP_LIMIT = 10.0
_LAST_CHECKPOINT = 2.0


class FlowMember(ConsumerRebalanceListener):  # type: ignore[misc]
    """``run`` until cancelled or ``stop``; comes back by itself when Kafka was away."""

    def __init__(self, flow: FlowContext) -> None:
        self._flow = flow
        self._timing = flow.clients.timing
        self._consumer: AIOKafkaConsumer | None = None
        self._membership: Membership | None = None
        self._owners: dict[int, PartitionOwner] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._trouble: str | None = "not yet a member of the group"
        self.joined = asyncio.Event()
        self._assignor = VersionedAssignor(flow.name, flow.topics.events)
        flow.control.watch(self._look)

    @property
    def flow(self) -> str:
        return self._flow.name

    def trouble(self) -> str | None:
        """None while this member is in its group and Kafka answers."""
        return self._trouble

    def owners(self) -> list[PartitionOwner]:
        """Of all that is assigned, delivered from here or not yet."""
        return list(self._owners.values())

    @property
    def partitions(self) -> list[int]:
        """Those that are delivered from here."""
        return sorted(partition for partition, owner in self._owners.items() if owner.active)

    async def run(self) -> None:
        wait = 0.5
        while True:
            consumer = self._flow.clients.group(self._flow.group, [self._assignor], fetch_max_wait_ms=200)
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

    def _look(self, state: ControlState) -> None:
        self._assignor.look(state)
        self._join_again()

    def _join_again(self) -> None:
        """Where the group was told something else about a rollout; its partitions are shared out anew then."""
        coordinator = self._consumer._coordinator if self._consumer is not None else None  # noqa: SLF001
        if self._assignor.stale and isinstance(coordinator, GroupCoordinator):
            log.info("joining again", flow=self._flow.name, share=self._assignor.knows.share)
            coordinator.request_rejoin()

    async def _watch(self, consumer: AIOKafkaConsumer) -> None:
        """Renews; asks for errors, and counts as polling also while no partition is ours."""
        nothing = TopicPartition(self._flow.topics.events, -1)
        while True:
            await asyncio.sleep(self._timing.checkpoint)
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await consumer.getmany(nothing)
            await self._renew()

    async def _renew(self) -> None:
        """A group commit of what was last checkpointed: it renews the lease, and lag tools read it."""
        membership = self._membership
        if membership is None:
            return
        known = {
            partition: owner.checkpointed.events for partition, owner in self._owners.items() if owner.checkpointed
        }
        try:
            if known:
                await membership.commit(known, self._timing.commit)
                log.debug("group commit", flow=self._flow.name, offsets=known)
                self._flow.pipeline.wake()
            else:
                await membership.ask(self._timing.commit)
            self._trouble = None if self.joined.is_set() else "not yet a member of the group"
        except CommitRefused as error:
            self._trouble = f"Kafka: {error}"
            log.debug("commit refused", flow=self._flow.name, error=str(error))

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Ends attempts quickly and records their outcomes; commits nothing any more."""
        if self._membership is not None:
            self._membership.ended = True
        leaving = [self._owners[tp.partition] for tp in revoked if tp.partition in self._owners]
        if leaving:
            await asyncio.gather(*(owner.drain(_REVOKE_LIMIT) for owner in leaving))
        self._drop()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """No heartbeat is sent while this runs: taking over happens in tasks."""
        consumer = self._consumer
        self._drop()
        if consumer is None:
            return
        self._membership = membership = Membership(consumer, self._flow.topics.events, self._timing)
        for tp in assigned:
            consumer.pause(tp)
            consumer.seek(tp, 0)
            owner = PartitionOwner(self._flow, consumer, membership, tp.partition)
            self._owners[tp.partition] = owner
            self._tasks[tp.partition] = asyncio.create_task(owner.run())
        self._trouble = None
        self.joined.set()
        log.info("partitions assigned", flow=self._flow.name, partitions=sorted(tp.partition for tp in assigned))
        self._join_again()  # what was heard while it joined did not count

    def _drop(self) -> None:
        if self._membership is not None:
            self._membership.ended = True
            self._membership = None
        for owner in self._owners.values():
            owner.stop_attempts()
        for task in self._tasks.values():
            task.cancel()
        self._owners, self._tasks = {}, {}

    async def stop(self) -> None:
        """Ends attempts, records, checkpoints, commits; ``run`` is to be cancelled afterwards."""
        owners = list(self._owners.values())
        await asyncio.gather(*(owner.drain(_STOP_LIMIT) for owner in owners))
        with suppress(TimeoutError, StateLost, KafkaError):
            async with asyncio.timeout(_LAST_CHECKPOINT):
                await asyncio.gather(*(owner.checkpoint() for owner in owners))
        if self._membership is not None:
            await self._renew()
