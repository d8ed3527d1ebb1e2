"""Ends a process whose consumer could deliver something and does not: a restart helps where we erred."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog
from aiokafka.errors import KafkaError

from linkspan.egress.own.member import FlowMember
from linkspan.egress.own.owner import PartitionOwner
from linkspan.egress.pipeline import Pipeline
from linkspan.kernel.errors import LinkspanError

log = structlog.get_logger()

_ASK = 5.0
#: Looks in a row that find no progress, at least: a process that stood still is not ended by its first one afterwards.
_LOOKS = 3


class Stalled(LinkspanError):
    """A partition makes no progress, and nothing that Linkspan waits for explains it."""


@dataclass(slots=True)
class _Seen:
    progress: int
    since: float
    looks: int = 0


class Watchdog:
    """``run`` until cancelled; raises Stalled when a partition had work and no progress for ``limit`` seconds.

    No stall is: Kafka away, the destination away, a message that waits for its next attempt, a throttle, a partition
    whose logs do not fit.
    """

    def __init__(self, flow: str, member: FlowMember, pipeline: Pipeline, limit: float) -> None:
        self._flow, self._member, self._pipeline, self._limit = flow, member, pipeline, limit
        self._seen: dict[PartitionOwner, _Seen] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._limit / 4)
            await self.look()

    async def look(self) -> None:
        """Raises Stalled."""
        now = asyncio.get_running_loop().time()
        owners = self._member.owners()
        self._seen = {owner: seen for owner, seen in self._seen.items() if owner in owners}
        for owner in owners:
            seen = self._seen.get(owner)
            if seen is None or owner.progress != seen.progress or not await self._should_go(owner, now):
                self._seen[owner] = _Seen(owner.progress, now)
                continue
            seen.looks += 1
            if seen.looks >= _LOOKS and now - seen.since >= self._limit:
                self._end(owner, now - seen.since)

    async def _should_go(self, owner: PartitionOwner, now: float) -> bool:
        return not self._excused(owner, now) and await self._has_work(owner)

    def _excused(self, owner: PartitionOwner, now: float) -> bool:
        wake_at = owner.state.wake_at()
        if owner.misfit is not None:
            return True
        return self._member.trouble() is not None or self._pipeline.waits() or (wake_at is not None and wake_at > now)

    async def _has_work(self, owner: PartitionOwner) -> bool:
        if owner.state.unfinished or owner.state.releases.busy:
            return True
        try:
            async with asyncio.timeout(_ASK):
                return await owner.lag() > 0
        except (KafkaError, TimeoutError):
            return False

    def _end(self, owner: PartitionOwner, seconds: float) -> None:
        facts = {"flow": self._flow, "partition": owner.partition, "unfinished": owner.state.unfinished}
        log.error("no progress: this process ends", **facts, seconds=round(seconds), active=owner.active)
        raise Stalled(
            f"flow {self._flow}, partition {owner.partition}: {owner.state.unfinished} messages and no progress for "
            f"{seconds:.0f} s, with Kafka and the destination there"
        )
