"""Looks at the group from outside of Faust: how far it has come, and whether it still comes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from linkspan.insight.plan import EVENTS, MENTIONS, Plan
from linkspan.kernel.errors import LinkspanError
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.message import now_micros

log = structlog.get_logger()

_EVERY = 1.0
_ASK = 10.0
Offsets = dict[TopicPartition, int]


class Stalled(LinkspanError):
    """Lag grows and nothing commits, with Kafka there."""


@dataclass(slots=True)
class _Standing:
    """Since when (monotonic) a partition's commit is where it is, and where its log ended then."""

    committed: int
    end: int
    since: float


class Watch:
    """``run`` until cancelled; raises Stalled. ``read_up_to``: microseconds since 1970; all that was in the events
    then has been heard, by all workers. ``mine``: the partitions of a topic that this worker has."""

    def __init__(self, clients: KafkaClients, plan: Plan, limit: float, mine: Callable[[str], set[int]]) -> None:
        self._clients, self._limit, self._mine, self._group = clients, limit, mine, plan.topics.app
        self._kinds = {
            TopicPartition(topic, number): source.kind
            for topic, source in plan.sources.items()
            for number in range(source.partitions)
        }
        self.read_up_to = 0
        self.behind: Offsets = {}
        self.starts: Offsets = {}
        self.trouble: str | None = "Kafka has not answered yet"
        self._goals: list[tuple[int, Offsets]] = []
        self._heard: tuple[int, Offsets] | None = None
        self._standing: dict[TopicPartition, _Standing] = {}

    async def run(self) -> None:
        while True:
            reader, admin = self._clients.reader(), self._clients.admin()
            try:
                async with asyncio.timeout(_ASK):
                    await reader.start()
                    await admin.start()
                while True:
                    await self._look(reader, admin)
                    await asyncio.sleep(_EVERY)
            except (KafkaError, TimeoutError, OSError) as error:
                self.trouble = f"Kafka does not answer ({error or 'no answer in time'})"
                self._standing = {}
            finally:
                with suppress(KafkaError, OSError):
                    await admin.close()
                await stop_consumer(reader)
            await asyncio.sleep(_EVERY)

    async def _look(self, reader: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> None:
        async with asyncio.timeout(_ASK):
            at, partitions = now_micros(), list(self._kinds)
            said = await admin.list_consumer_group_offsets(self._group)
            self.starts = starts = await reader.beginning_offsets(partitions)
            ends: Offsets = await reader.end_offsets(partitions)  # last: mentions stand in the log before the commit
        committed = {tp: max(said[tp].offset if tp in said else 0, starts[tp]) for tp in partitions}
        self.trouble = None
        self.behind = {tp: max(0, ends[tp] - committed[tp]) for tp in partitions}
        self._read_on(at, ends, committed)
        self._judge(asyncio.get_running_loop().time(), ends, committed)

    def _read_on(self, at: int, ends: Offsets, committed: Offsets) -> None:
        """First the events that were there, then what was said of them."""
        self._heard = self._heard or (at, self._only(ends, EVENTS))
        when, goal = self._heard
        if _reached(goal, committed):
            self._heard = None
            self._goals.append((when, self._only(ends, MENTIONS)))
        while self._goals and _reached(self._goals[0][1], committed):
            self.read_up_to = self._goals.pop(0)[0]

    def _only(self, offsets: Offsets, kind: str) -> Offsets:
        return {tp: offset for tp, offset in offsets.items() if self._kinds[tp] == kind}

    def _judge(self, now: float, ends: Offsets, committed: Offsets) -> None:
        for tp, end in ends.items():
            known = self._standing.get(tp)
            if known is None or known.committed != committed[tp] or end <= committed[tp]:
                self._standing[tp] = _Standing(committed[tp], end, now)
            elif now - known.since >= self._limit and end > known.end and self._concerns(tp):
                log.error("lag grows and nothing commits: this process ends", topic=tp.topic, partition=tp.partition)
                raise Stalled(
                    f"{tp.topic}, partition {tp.partition}: {end - committed[tp]} records behind, more all the time, "
                    f"and nothing committed for {now - known.since:.0f} s, with Kafka there"
                )

    def _concerns(self, tp: TopicPartition) -> bool:
        """It is ours, or nothing is: then this worker may have lost its group."""
        ours = {(one.topic, number) for one in self._kinds for number in self._mine(one.topic)}
        return not ours or (tp.topic, tp.partition) in ours


def _reached(goal: Offsets, committed: Offsets) -> bool:
    return all(committed[tp] >= offset for tp, offset in goal.items())
