"""Reads the list of a replay and its outcomes again, and counts: each planned record has exactly one disposition."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.plan import PlanCodec, PlanHead, PlanPart, ReplayOptions
from linkspan.kernel.topics import FlowTopics, Headers
from linkspan.replay.frozen import NotAsFrozen, entries_of, planned
from linkspan.replay.parts import each_part
from linkspan.replay.tally import PartTally

#: After the offset below which an owner said that its part's outcomes stand, so many more are read: a disposition too
#: many would be soon after.
_BEYOND = 50_000


@dataclass(frozen=True, slots=True)
class Run:
    """A plan and how it was started."""

    integration: str
    flow: str
    plan: str
    head: PlanHead
    options: ReplayOptions


@dataclass(slots=True)
class Proof:
    """``once``: planned records with exactly one disposition; ``none``: with none; ``repeats``: valid ones beyond the
    first; ``strays``: about records that the list does not name; ``wrong``: why the list is not what was frozen."""

    records: int = 0
    once: int = 0
    none: int = 0
    repeats: int = 0
    strays: int = 0
    dispositions: Counter[str] = field(default_factory=Counter)
    wrong: str = ""

    @property
    def unchanged(self) -> bool:
        return not self.wrong

    @property
    def proven(self) -> bool:
        """Each planned record once, and nothing else."""
        sums = sum(self.dispositions.values()) == self.once == self.records
        return self.unchanged and sums and not (self.none or self.repeats or self.strays)


async def prove(clients: KafkaClients, run: Run, codec: PlanCodec, done: Mapping[int, int]) -> Proof:
    """``done``: of each partition whose part is done, the offset below which its outcomes stand. Raises KafkaError."""
    proof = Proof(records=run.head.records)

    async def add(reader: AIOKafkaConsumer, part: PlanPart) -> None:
        try:
            tally = await tally_of(reader, run, part, codec, done.get(part.partition))
        except NotAsFrozen as error:
            proof.wrong, proof.none = str(error), proof.none + part.records
            return
        proof.once += tally.once
        proof.none += tally.none
        proof.repeats += tally.repeats
        proof.strays += tally.strays
        proof.dispositions += tally.dispositions

    await each_part(clients, run.head.partitions, add)
    return proof


async def tally_of(reader: AIOKafkaConsumer, run: Run, part: PlanPart, codec: PlanCodec, end: int | None) -> PartTally:
    """Raises NotAsFrozen, KafkaError."""
    topics, plan = FlowTopics.of(run.integration, run.flow), run.plan.encode()
    chunks = await entries_of(reader, TopicPartition(topics.replays, part.partition), run.plan, part, codec)
    tally = await asyncio.to_thread(PartTally, planned(chunks), run.options, part.epoch)  # seconds where it is long

    def take(record: Any) -> None:
        said = dict(record.headers)
        kind = said.get(Headers.KIND, b"").decode("ascii", "replace")
        numbers = (_number(said.get(name), -1) for name in (Headers.OFFSET, Headers.EPOCH, Headers.UNTIL))
        offset, epoch, until = numbers
        tally.outcome(kind, offset, max(0, epoch), until, ours=said.get(Headers.PLAN) == plan)

    outcomes = TopicPartition(topics.outcomes, part.partition)
    now = (await reader.end_offsets([outcomes]))[outcomes]
    await read_all(reader, outcomes, part.outcomes, now if end is None else min(now, end + _BEYOND), take)
    return tally


def _number(value: bytes | None, otherwise: int) -> int:
    return int(value) if value is not None and value.isdigit() else otherwise
