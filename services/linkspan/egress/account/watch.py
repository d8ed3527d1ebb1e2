"""Says all the time what ``linkspan audit`` says when asked, about the partitions that this replica owns.

It follows ``outcomes`` in the log, apart from the memory of the delivery, and looks whether every event that the
position has passed since is among them. docs/decisions/0009 has what it covers and what it costs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.telemetry import metrics
from linkspan.kernel.topics import FlowTopics
from linkspan.readmodel.account import outcome_said
from linkspan.readmodel.standing import standing
from linkspan.readmodel.tally import OWNER, REDRIVEN, STATUSES

log = structlog.get_logger()

_EVERY = 10.0
#: Outcomes of a partition that are read at a time: what is left waits for the next time, so the cost is bounded.
_RECORDS = 20_000
#: Suspected offsets that are looked up one by one; of more, the rest counts unseen.
_LOOKED_UP = 100
_FETCH_MS = 200
_KNOWN = frozenset({*STATUSES, REDRIVEN})


@dataclass(slots=True)
class Followed:
    """A partition: events below ``checked`` are done with, outcomes below ``outcomes`` are read."""

    checked: int
    outcomes: int
    epoch: int = 0
    known: set[int] = field(default_factory=set)

    def take(self, kind: str, offset: int, epoch: int, until: int) -> None:
        """As ``outcome_said`` gives it."""
        if until >= 0:
            self.known.update(range(max(offset, self.checked), until))
        elif kind == OWNER:
            self.epoch = max(self.epoch, epoch)
        elif kind in _KNOWN and epoch >= self.epoch and offset >= self.checked:
            self.known.add(offset)

    def missing(self, position: int) -> list[int]:
        """Offsets that the position has passed without an outcome."""
        return [offset for offset in range(self.checked, position) if offset not in self.known]

    def done(self, position: int) -> None:
        """With what lies below it."""
        self.checked = max(self.checked, position)
        self.known = {offset for offset in self.known if offset >= self.checked}


class AccountWatch:
    """``run`` until cancelled. ``owned``: the partitions that are delivered from here now."""

    def __init__(
        self,
        clients: KafkaClients,
        integration: str,
        flow: str,
        owned: Callable[[], list[int]],
        every: float = _EVERY,
    ) -> None:
        self._clients, self._integration, self._flow = clients, integration, flow
        self._owned, self._every = owned, every
        self._topics = FlowTopics.of(integration, flow)
        self._followed: dict[int, Followed] = {}
        self._found = metrics.UNACCOUNTED.labels(flow)
        self._unchecked = metrics.UNWATCHED.labels(flow)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            reader = self._clients.reader()
            try:
                async with asyncio.timeout(6 * self._every):
                    await reader.start()
                    await self._look(reader)
            except (KafkaError, OSError, TimeoutError) as error:
                log.debug("the account is not watched", flow=self._flow, error=repr(error))
            except Exception:
                log.exception("the account is not watched", flow=self._flow)  # never a reason to stop delivering
            finally:
                await stop_consumer(reader)

    async def _look(self, reader: AIOKafkaConsumer) -> None:
        owned = self._owned()
        self._followed = {number: found for number, found in self._followed.items() if number in owned}
        unchecked = 0
        for partition in owned:
            unchecked += await self._look_at(reader, partition)
        self._unchecked.set(unchecked)

    async def _look_at(self, reader: AIOKafkaConsumer, partition: int) -> int:
        """How many events are still to be checked."""
        now = await standing(self._clients, self._integration, self._flow, partition)
        if now is None:
            return 0
        followed = self._followed.get(partition)
        if followed is None:
            finished = {offset for first, end in now.finished for offset in range(first, end)}
            self._followed[partition] = Followed(now.events, now.outcomes, now.outcomes_epoch, finished)
            return 0
        if not await self._follow(reader, partition, followed):
            return max(0, now.events - followed.checked)
        suspects = followed.missing(now.events)
        missing = await self._confirmed(reader, partition, suspects)
        followed.done(now.events)
        if missing:
            self._found.inc(missing)
            shown = suspects[:_LOOKED_UP]
            log.error("events are unaccounted", flow=self._flow, partition=partition, count=missing, offsets=shown)
        return 0

    async def _follow(self, reader: AIOKafkaConsumer, partition: int, followed: Followed) -> bool:
        """Reads on in the outcomes; whether to their end."""
        outcomes = TopicPartition(self._topics.outcomes, partition)
        end: int = (await reader.end_offsets([outcomes]))[outcomes]
        start = followed.outcomes
        reader.assign([outcomes])
        reader.seek(outcomes, start)
        while followed.outcomes < min(end, start + _RECORDS):
            for record in (await reader.getmany(outcomes, timeout_ms=_FETCH_MS)).get(outcomes, ()):
                said = outcome_said(record)
                if said is not None:
                    followed.take(*said)
            followed.outcomes = await reader.position(outcomes)
        return followed.outcomes >= end

    async def _confirmed(self, reader: AIOKafkaConsumer, partition: int, suspects: list[int]) -> int:
        """An offset may hold no event; one that retention took before its outcome counts."""
        if not suspects:
            return 0
        events = TopicPartition(self._topics.events, partition)
        first = (await reader.beginning_offsets([events]))[events]
        reader.assign([events])
        left = deque(offset for offset in suspects if offset >= first)
        count = len(suspects) - len(left)
        for _ in range(_LOOKED_UP):
            if not left:
                break
            reader.seek(events, left[0])
            records = (await reader.getmany(events, timeout_ms=_FETCH_MS, max_records=1)).get(events, ())
            there = records[0].offset if records else await reader.position(events)
            while left and left[0] < there:  # a gap, however long
                left.popleft()
            if records and left and left[0] == there:
                left.popleft()
                count += 1
        return count + len(left)
