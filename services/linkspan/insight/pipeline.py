"""What came in is counted and put together, told, kept and then committed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from linkspan.insight.app import Streams
from linkspan.insight.conversations import Mention, encode, read_mention
from linkspan.insight.counting import Counting
from linkspan.insight.plan import EVENTS, OUTCOMES, Plan, Source
from linkspan.insight.progress import Place, Progress
from linkspan.insight.shelf import Shelf
from linkspan.insight.talks import Talks
from linkspan.insight.watch import Watch
from linkspan.insight.writes import Writes
from linkspan.kernel.message import now_micros
from linkspan.kernel.records.event import Event
from linkspan.kernel.telemetry import metrics
from linkspan.kernel.topics import Headers, partition_of

log = structlog.get_logger()

_PAUSE = 0.2
#: Seconds: a batch costs two round trips to Kafka and a row for each pane that it touches.
_GATHER = 0.1
_AGAIN = 1.0
_COMMIT = 1.0


def position_key(kind: str) -> bytes:
    """The row that says which record of the topic comes next; no other row begins so."""
    return b"\0" + kind.encode()


class Pipeline:
    """``run`` until cancelled. Everything that it does may be done again with the same result."""

    def __init__(self, plan: Plan, streams: Streams, counting: Counting, talks: Talks | None, watch: Watch) -> None:
        self._plan, self._streams, self.counting, self.talks, self._watch = plan, streams, counting, talks, watch
        self._sources = plan.sources
        self._progress = Progress()
        self._reached: dict[Place, int] = {}
        self._held = -1

    async def run(self) -> None:
        committing = asyncio.create_task(self._commit())
        try:
            while True:
                messages = await self._streams.inbox.take(_PAUSE, _GATHER)
                async with self._streams.busy:
                    await self._step(messages)
        finally:
            committing.cancel()

    async def _commit(self) -> None:
        """What was reached by a settled step; a step under way counts from its end on."""
        done: dict[Place, int] = {}
        while True:
            await asyncio.sleep(_COMMIT)
            reached = dict(self._reached)
            current = self._held == self._streams.held
            if current and reached != done and await self._streams.commit(reached):
                done = reached

    async def _step(self, messages: list[Any]) -> None:
        if not await self._ready():
            return
        held, now, writes = self._held, now_micros(), Writes()
        for message in self._streams.current(messages):
            if self._progress.admits((message.topic, message.partition), message.offset):
                self._take(message, now, writes)
        for place, offset in self._progress.passed_over(time.monotonic()):
            self._streams.read_again(place, offset)
        if self.talks is not None:
            self.talks.look(now, self._watch.read_up_to, writes)
        self.counting.changes(now, writes)
        for (topic, partition), offset in self._progress.moved():
            source = self._sources[topic]
            writes.row(self._shelf(source), partition, position_key(source.kind), b"%d" % offset)
        if await self._settle(writes, held):
            self._kept()

    def _kept(self) -> None:
        self.counting.kept()
        if self.talks is not None:
            self.talks.kept()
        self._progress.kept()
        self._reached = dict(self._progress.next)

    def _shelf(self, source: Source) -> Shelf:
        shelf = self._streams.windows[source.flow] if source.flow else self._streams.conversations
        assert shelf is not None  # noqa: S101 - there are mentions, so there is their table
        return shelf

    async def _ready(self) -> bool:
        """The tables are recovered and loaded. Records that came before are still current then."""
        streams, held = self._streams, self._streams.held
        while not streams.settled:
            if streams.held != held:
                return False
            await asyncio.sleep(0.05)
        if self._held != held:
            self._held = -1
            await self._load(held)
            self._held = held if streams.held == held else -1
        return self._held == held

    async def _load(self, held: int) -> None:
        streams = self._streams
        self.counting.clear()
        for flow in self._plan.flows:
            self.counting.load(flow, streams.partitions(self._plan.topics.changelog(self._plan.topics.windows(flow))))
        if self.talks is not None:
            partitions = streams.partitions(self._plan.topics.mentions)
            await self.talks.load(partitions, lambda: streams.held == held)
        self._progress.clear()
        for topic, source in self._sources.items():
            for partition in streams.partitions(topic):
                said = self._shelf(source).get(partition, position_key(source.kind))
                start = self._watch.starts.get(TopicPartition(topic, partition), 0)
                self._progress.begin((topic, partition), max(start, int(said or 0)))
        self._reached = dict(self._progress.next)

    def _take(self, message: Any, now: int, writes: Writes) -> None:
        source = self._sources[message.topic]
        metrics.INSIGHT_READ.labels(source.kind).inc()
        if any(name == Headers.COPIED for name, _ in message.headers or ()):
            return  # it was counted in the flow that it was copied from
        try:
            if source.kind == EVENTS:
                self._event(source.flow, message, now, writes)
            elif source.kind == OUTCOMES:
                self.counting.outcome(source.flow, message, now)
            elif self.talks is not None:
                correlation_id = message.key.decode()
                self.talks.hear(message.partition, correlation_id, read_mention(message.value), now, writes)
        except Exception as error:  # noqa: BLE001 - whatever one record is, the others are counted
            metrics.INSIGHT_SKIPPED.labels(source.kind.removesuffix("s")).inc()
            where = {"topic": message.topic, "partition": message.partition, "offset": message.offset}
            log.warning("a record is not counted", **where, error=repr(error))

    def _event(self, flow: str, message: Any, now: int, writes: Writes) -> None:
        event = Event.made(
            message.offset, message.key, message.value, message.headers or (), int(message.timestamp * 1000)
        )
        self.counting.event(flow, message.partition, event, now)
        belongs = self._plan.conversations_of(flow)
        if not belongs or event.refused is not None:
            return
        if not event.correlation_id or not event.message_id:
            metrics.INSIGHT_SKIPPED.labels("event").inc()
            return
        key = event.correlation_id.encode()
        for asked in belongs:
            mention = encode(Mention(asked, flow, event.accepted_at, event.message_id))
            writes.send(self._plan.topics.mentions, partition_of(key, self._plan.partitions), key, mention)

    async def _settle(self, writes: Writes, held: int) -> bool:
        """Until Kafka has all of it, or the partitions went."""
        while self._streams.held == held:
            if writes.empty:
                return True
            try:
                keep = await writes.settle(self._streams.send)
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("not written, tried again", error=repr(error))
                await asyncio.sleep(_AGAIN)
                continue
            if self._streams.held == held:
                keep()
                return True
        self._held = -1
        return False
