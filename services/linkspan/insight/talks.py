"""The conversations whose table partitions this worker has: who waits for what, and until when."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable

import msgspec

from linkspan.insight.conversations import (
    WAITING,
    Conversation,
    Keeping,
    Mention,
    encode,
    read_conversation,
)
from linkspan.insight.plan import Plan
from linkspan.insight.shelf import Shelf
from linkspan.insight.writes import Writes
from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.telemetry import metrics
from linkspan.kernel.topics import conversations_topic, partition_of

#: Conversations looked at in one go.
_AT_ONCE = 1_000
_SECOND = 1_000_000
#: Between the acceptance of a message and its place in the log; microseconds.
_APPEND = 2 * _SECOND


class Talks:
    """``load`` when partitions came; then ``hear`` and ``look`` put into ``Writes`` what is to be written, and
    ``kept`` says that it was."""

    def __init__(self, plan: Plan, shelf: Shelf, codec: RecordCodec, keeping: Keeping) -> None:
        self._plan, self._shelf, self._codec, self._keeping = plan, shelf, codec, keeping
        self._topic = conversations_topic(plan.integration)
        self._unkept: dict[tuple[int, bytes], bytes | None] = {}
        self._wakes: list[tuple[int, int, bytes]] = []
        self.counts: Counter[tuple[str, str]] = Counter()

    def clear(self) -> None:
        self._unkept, self._wakes = {}, []
        self.counts.clear()

    async def load(self, partitions: set[int], valid: Callable[[], bool]) -> None:
        """About 5 us a row; ends early when not ``valid`` any more."""
        self.clear()
        for partition in sorted(partitions):
            for number, (key, value) in enumerate(self._shelf.items(partition)):
                known = self._read(key, value)
                if known is not None:
                    self._count(key, known, 1)
                    self._wakes.append((self._wake_at(key, known), partition, key))
                if number % 2_000 == 0:
                    await asyncio.sleep(0)
                    if not valid():
                        return
        heapq.heapify(self._wakes)

    def hear(self, partition: int, correlation_id: str, mention: Mention, now: int, writes: Writes) -> None:
        """``now``: microseconds since 1970."""
        key = f"{mention.flow}/{correlation_id}".encode()
        known = self._get(partition, key)
        heard = (known or Conversation()).with_mention(mention, now)
        if known is heard or mention.flow not in self._plan.within:
            return
        if known is not None:
            self._count(key, known, -1)
        self._put(partition, key, heard, writes)
        before = None if known is None else self._wake_at(key, known)
        if before is None or self._wake_at(key, heard) < before:
            self._wake(partition, key, self._wake_at(key, heard))
        took = heard.round_trip
        if took is not None and (known is None or known.round_trip is None):
            metrics.ROUND_TRIP_SECONDS.labels(mention.flow).observe(took)

    def look(self, now: int, read_up_to: int, writes: Writes) -> None:
        """``read_up_to``: all that was in the log then has been heard; whose answer was due before is overdue."""
        for _ in range(_AT_ONCE):
            if not self._wakes or self._wakes[0][0] > now:
                return
            _, partition, key = heapq.heappop(self._wakes)
            known = self._get(partition, key)
            if known is None:
                continue
            at = self._wake_at(key, known)
            if at > now:
                self._wake(partition, key, at)
            elif known.state(self._within(key)) != WAITING:
                self._count(key, known, -1)
                self._forget(partition, key, writes)
            elif read_up_to <= at + _APPEND:
                self._wake(partition, key, now + _SECOND)
            else:
                self._count(key, known, -1)
                missed = known.overdue(now)
                self._put(partition, key, missed, writes)
                self._wake(partition, key, self._wake_at(key, missed))

    def kept(self) -> None:
        """What was put into the writes stands in the table."""
        self._unkept = {}

    def _put(self, partition: int, key: bytes, conversation: Conversation, writes: Writes) -> None:
        self._count(key, conversation, 1)
        value = encode(conversation)
        self._unkept[partition, key] = value
        writes.row(self._shelf, partition, key, value)
        if conversation.request is not None:
            flow, correlation_id = _parts(key)
            record = self._codec.encode(conversation.record(correlation_id, self._plan.within[flow]))
            said = correlation_id.encode()
            writes.send(self._topic, partition_of(said, self._plan.partitions), said, record)

    def _forget(self, partition: int, key: bytes, writes: Writes) -> None:
        self._unkept[partition, key] = None
        writes.row(self._shelf, partition, key, None)

    def _get(self, partition: int, key: bytes) -> Conversation | None:
        place = (partition, key)
        value = self._unkept[place] if place in self._unkept else self._shelf.get(partition, key)
        return None if value is None else self._read(key, value)

    def _read(self, key: bytes, value: bytes) -> Conversation | None:
        """None where it is no conversation of a flow that has any (Faust can mix up changelogs, and files change)."""
        try:
            return read_conversation(value) if _parts(key)[0] in self._plan.within else None
        except msgspec.DecodeError:
            metrics.INSIGHT_SKIPPED.labels("table").inc()
            return None

    def _within(self, key: bytes) -> int:
        return self._plan.within[_parts(key)[0]]

    def _wake_at(self, key: bytes, conversation: Conversation) -> int:
        return self._keeping.looked_at(conversation, self._within(key))

    def _wake(self, partition: int, key: bytes, at: int) -> None:
        heapq.heappush(self._wakes, (at, partition, key))

    def _count(self, key: bytes, conversation: Conversation, change: int) -> None:
        state = conversation.state(self._within(key))
        if state is not None:
            self.counts[_parts(key)[0], state] += change


def _parts(key: bytes) -> tuple[str, str]:
    flow, _, correlation_id = key.decode("utf-8", "replace").partition("/")
    return flow, correlation_id
