"""Follows the logs of some streams from where SQL says that they are folded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import Connection

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.kafka.published import PublishedSchemas
from linkspan.kernel.kafka.reading import read_all, topics_there
from linkspan.kernel.records.parked import Copy
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.telemetry import metrics
from linkspan.kernel.topics import all_topics
from linkspan.ledger.fold import Fold
from linkspan.ledger.gather import Gatherer, Said, Topics
from linkspan.ledger.pipeline import Folding
from linkspan.ledger.said import EventSaid, OutcomeSaid, copy_said
from linkspan.ledger.store import Ends, commit, tell
from linkspan.ledger.streams import Name, Stream, load_streams
from linkspan.readmodel.database import Database
from linkspan.readmodel.tables import CONVERSATIONS

log = structlog.get_logger()

#: A batch ends with so many records or bytes, or so many seconds after its first.
_RECORDS, _BYTES, _LINGER = 10_000, 32 * 1024 * 1024, 0.1
#: The ends of the logs are told so often while nothing comes, seconds.
_TELL = 2.0
#: Seconds that Kafka has for an answer.
_ANSWER = 30.0
_FETCH_BYTES = 16 * 1024 * 1024


class Follower:
    """``open``, then ``step`` again and again, then ``close``. After an error only ``close``."""

    def __init__(
        self,
        clients: KafkaClients,
        integration: Integration,
        catalog: SchemaCatalog,
        database: Database,
        build: int | None = None,
    ) -> None:
        self._clients, self._integration, self._database, self._build = clients, integration, database, build
        self.topics = Topics(integration)
        self._gatherer = Gatherer(catalog, self.topics)
        self._schemas = PublishedSchemas(clients, integration.integration, catalog)
        self._reader: AIOKafkaConsumer | None = None
        self.streams: dict[Name, Stream] = {}
        self.folding = Folding(database, self.streams)
        self.folded = 0
        self._told = 0.0
        self._opened_at: dict[TopicPartition, int] = {}

    async def open(self, names: Iterable[Name]) -> None:
        """Raises DatabaseAway, Closed, KafkaError, TimeoutError, UserMistake."""
        wanted = sorted(names)
        self.streams.clear()
        # Where retention overtakes it, it says so: the copies in ``parked`` are read then (``_mend``).
        self._reader = reader = self._clients.reader(auto_offset_reset="none", fetch_max_bytes=_FETCH_BYTES)
        async with asyncio.timeout(_ANSWER):
            await reader.start()
            await self._check_topics(reader)
            partitions = [tp for name in wanted for tp in self._partitions(name)]
            starts = await reader.beginning_offsets(partitions) if partitions else {}
            self._opened_at = await reader.end_offsets(partitions) if partitions else {}
        self.streams |= await self._database.write(lambda connection: self._load(connection, wanted))
        for name in wanted:
            await self._mend(name, starts)
        reader.assign(partitions)
        for name in wanted:
            for tp, offset in zip(self._partitions(name), self._offsets(name), strict=True):
                reader.seek(tp, max(offset, starts[tp]))

    def _load(self, connection: Connection, wanted: list[Name]) -> dict[Name, Stream]:
        """Never without the ends of their logs: all would seem to be folded."""
        streams = load_streams(connection, self._integration, wanted, self._build)
        tell(connection, self._ends(streams))
        return streams

    async def step(self) -> int:
        """Folds what there is, and returns how many records; waits a little where there is none. Raises as ``open``."""
        said = await self.gather()
        count = sum(map(len, said.values()))
        now = asyncio.get_running_loop().time()
        if said:
            with metrics.LEDGER_BATCH_SECONDS.time():
                await asyncio.to_thread(self.folding.fold, said, self.ends())
            self._note(said)
        elif now - self._told > _TELL:
            self._told, ends = now, self.ends()
            await self._database.write(lambda connection: tell(connection, ends))
        self.folded += count
        return count

    async def gather(self) -> dict[Name, Said]:
        """What comes until it is a batch."""
        reader, said, size, count = self._running(), dict[Name, Said](), 0, 0
        loop = asyncio.get_running_loop()
        until: float | None = None
        while count < _RECORDS and size < _BYTES:
            left = 0.5 if until is None else until - loop.time()
            if left <= 0:
                break
            found = await reader.getmany(timeout_ms=int(left * 1000) + 1, max_records=_RECORDS - count)
            if not found:
                break
            await self._gatherer.learn(self._schemas, found)
            size += self._gatherer.take(said, found)
            count += sum(map(len, found.values()))
            until = until or loop.time() + _LINGER
        for name, stream in self.streams.items():
            if name[0] != CONVERSATIONS:
                await self._passed(said, name, stream)
        return said

    async def _passed(self, said: dict[Name, Said], name: Name, stream: Stream) -> None:
        """What lies behind the last record and is none."""
        events, outcomes, _ = [await self._running().position(tp) for tp in self._partitions(name)]
        if events > stream.progress.events or outcomes > stream.progress.outcomes:
            one = said.setdefault(name, Said())
            one.events_read, one.outcomes_read = events, outcomes

    def ends(self) -> dict[int, Ends]:
        """As Kafka said with the last fetch, or at the opening; by the streams' numbers."""
        return self._ends(self.streams)

    def _ends(self, streams: Mapping[Name, Stream]) -> dict[int, Ends]:
        reader, found = self._running(), {}
        assigned = reader.assignment()
        for name, stream in streams.items():
            if name[0] != CONVERSATIONS:
                events, outcomes, _ = (
                    (reader.highwater(tp) if tp in assigned else None) or self._opened_at[tp]
                    for tp in self._partitions(name)
                )
                found[stream.number] = Ends(events, outcomes)
        return found

    async def log_ends(self) -> dict[Name, tuple[int, int]]:
        """Of events, or conversations, and outcomes. Raises as ``behind``."""
        partitions = {name: self._partitions(name)[:2] for name in self.streams}
        async with asyncio.timeout(_ANSWER):
            found = await self._running().end_offsets([tp for tps in partitions.values() for tp in tps])
        return {name: (found[tps[0]], found[tps[-1]]) for name, tps in partitions.items()}

    async def everything(self) -> list[Name]:
        """All that there is to fold. Raises KafkaError, TimeoutError, UserMistake."""
        names = [(flow, number) for flow, count in self.topics.partitions.items() for number in range(count)]
        reader = self._clients.reader()
        try:
            async with asyncio.timeout(_ANSWER):
                await reader.start()
                await self._check_topics(reader)
                topic = self.topics.conversations
                count = self._conversations() if topic in await topics_there(reader) else 0
        finally:
            await stop_consumer(reader)
        return names + [(CONVERSATIONS, number) for number in range(count)]

    def _conversations(self) -> int:
        """Partitions of their topic: a consumer knows only those of topics that it reads already."""
        wanted = (spec.partitions for spec in all_topics(self._integration) if spec.name == self.topics.conversations)
        return next(wanted, 0)

    def lag(self) -> dict[str, int]:
        """Records that are not folded yet, by flow."""
        ends = self.ends()
        found = dict.fromkeys((name[0] for name in self.streams if name[0] != CONVERSATIONS), 0)
        for name, stream in self.streams.items():
            end = ends.get(stream.number)
            if end is not None:
                found[name[0]] += max(0, end.events - stream.progress.events)
                found[name[0]] += max(0, end.outcomes - stream.progress.outcomes)
        return found

    async def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await stop_consumer(reader)

    def _note(self, said: dict[Name, Said]) -> None:
        metrics.LEDGER_BATCHES.inc()
        for (flow, _), one in said.items():
            metrics.LEDGER_FOLDED.labels(flow or "conversations").inc(len(one))

    def _running(self) -> AIOKafkaConsumer:
        if self._reader is None:
            raise RuntimeError("the follower is not open")
        return self._reader

    def _partitions(self, name: Name) -> list[TopicPartition]:
        flow, partition = name
        if flow == CONVERSATIONS:
            return [TopicPartition(self.topics.conversations, partition)]
        topics = self.topics.by_flow[flow]
        return [TopicPartition(topic, partition) for topic in (topics.events, topics.outcomes, topics.state)]

    def _offsets(self, name: Name) -> list[int]:
        progress = self.streams[name].progress
        if name[0] == CONVERSATIONS:
            return [progress.events]
        return [progress.events, progress.outcomes, progress.state]

    async def _check_topics(self, reader: AIOKafkaConsumer) -> None:
        there = await topics_there(reader)
        for topics in self.topics.by_flow.values():
            for topic in (topics.events, topics.outcomes, topics.state, topics.parked):
                if topic not in there:
                    raise UserMistake(f"Kafka has no topic {topic}; linkspan topics makes it")

    async def _mend(self, name: Name, starts: dict[TopicPartition, int]) -> None:
        """What retention took before it was folded: messages that are still parked are known by their copies."""
        if name[0] == CONVERSATIONS:
            return
        stream = self.streams[name]
        events, outcomes, _ = (starts[tp] for tp in self._partitions(name))
        before = stream.progress
        if events <= before.events and outcomes <= before.outcomes:
            return
        copies = await self._copies(name, before.events, events)
        if before.events or before.outcomes:
            log.warning("retention took events before they were folded", flow=name[0], partition=name[1], below=events)

        def store() -> None:
            with self._database.writing() as connection:
                fold = Fold(stream.number, before, stream.known(connection, list(copies)), stream.ranges)
                for event, outcome in copies.values():
                    fold.copy(event, outcome)
                fold.skip_to(events, outcomes)
                commit(connection, {stream.number: fold}, {})
            self.folding.done({stream.number: fold})

        await asyncio.to_thread(store)

    async def _copies(self, name: Name, first: int, end: int) -> dict[int, tuple[EventSaid, OutcomeSaid]]:
        """Of events from ``first`` to before ``end``."""
        copies: dict[int, tuple[EventSaid, OutcomeSaid]] = {}

        def take(record: Any) -> None:
            copy = Copy(record)
            copies.pop(copy.offset, None)
            if not copy.gone and first <= copy.offset < end:
                copies[copy.offset] = copy_said(record)

        parked = TopicPartition(self.topics.by_flow[name[0]].parked, name[1])
        await read_all(self._running(), parked, 0, None, take)
        return copies
