"""A flow copied, and switched to its copy in one transaction; or switched back, as long as nothing ran on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.egress.own.store import StateStore, Writing
from linkspan.egress.repartition.copy import Copying, Into, Say
from linkspan.egress.repartition.look import Look, Sight, partitions_of, spans
from linkspan.egress.repartition.target import copied_from
from linkspan.egress.restore.running import running
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.commands import PAUSE, REPARTITIONED, TRANSFORM, Command, CommandCodec
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.clients import KafkaClients, started_producer, started_reader, stop_consumer, stop_producer
from linkspan.kernel.kafka.published import PublishedSchemas
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.copied import CopyMark
from linkspan.kernel.records.state import COPIED, IDS, POSITION, StateCodec
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.topic_admin import check_topics
from linkspan.kernel.topics import MAX_RECORD_BYTES, FlowTopics, control_topic

_BATCH_BYTES = 256 * 1024
#: Slots of ids of one transaction, 12 KB each.
_SLOTS = 200


class Repartition:
    """Of the flow ``target`` of the file, which says its source. Raises KafkaError, KafkaAway, StateLost."""

    def __init__(
        self, clients: KafkaClients, integration: Integration, catalog: SchemaCatalog, target: str, say: Say
    ) -> None:
        self._clients, self._integration, self._catalog, self._say = clients, integration, catalog, say
        self._look = Look(clients, integration, catalog, target)
        self._flow, self.source, self.target = integration.flows[target], self._look.source, target
        self._new = FlowTopics.of(integration.integration, target)
        self._old = FlowTopics.of(integration.integration, self.source)
        self._states = StateCodec(catalog)
        self.mark, self.look = self._look.mark, self._look.look

    async def write(self, sight: Sight, reason: str) -> None:
        """Goes on where a run before was ended. Raises UserMistake where something else is written meanwhile."""
        await self._topics()
        await PublishedSchemas(self._clients, self._integration.integration, self._catalog).ready()
        async with self._writing() as store:
            await store.write([self._marked(self._new, number, done=False) for number in range(self._flow.partitions)])
            producer = await started_producer(
                self._clients.producer(max_batch_size=_BATCH_BYTES, max_request_size=2 * MAX_RECORD_BYTES, linger_ms=5)
            )
            reader = await started_reader(self._clients.reader())
            try:
                into = Into(
                    *(self._new, self._flow.partitions, self._flow.duplicates, OutcomeCodec(self._catalog), self._say)
                )
                copying = Copying(self._clients, producer, reader, sight, into)
                await copying.copy()
                await self._tell(sight, reason)
                await self._switch(store, reader, sight, copying)
            finally:
                await stop_consumer(reader)
                await stop_producer(producer)

    async def back(self, reason: str) -> None:
        """The source is delivered again, and the target not any more. Raises UserMistake where something ran on it."""
        reader = await started_reader(self._clients.reader())
        try:
            numbers = range(await partitions_of(self._clients, self._new.events))
            sources = range(await partitions_of(self._clients, self._old.events))
            await self._see_that_all_is_stopped()
            for number in numbers:
                await self._untouched(reader, number)
        finally:
            await stop_consumer(reader)
        async with self._writing() as store:
            target = [self._marked(self._new, number, done=False) for number in numbers]
            source: list[Writing] = [(TopicPartition(self._old.state, number), COPIED, None, []) for number in sources]
            await self._send(Command(REPARTITIONED, self.source, by=_BY, reason=reason, value=self.target))
            await store.write([*target, *source])

    async def _topics(self) -> None:
        """Raises UserMistake where one is not as it should be."""
        security = self._clients.security
        report = await check_topics(
            self._clients.servers, self._integration, security=security, create=True, copying=self.target
        )
        ours = {self._new.events, self._new.outcomes, self._new.parked, self._new.state, self._new.replays}
        wrong = [line for line in report.differences if line.partition(":")[0] in ours]
        if wrong:
            raise UserMistake("\n".join(wrong))

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[StateStore]:
        """Of all partitions: nobody who began before writes any more."""
        store = StateStore(self._clients, f"linkspan-repartition-{self._integration.integration}.{self.target}")
        await store.start()
        try:
            yield store
        finally:
            store.discard()

    def _marked(self, topics: FlowTopics, number: int, *, done: bool) -> Writing:
        mark = self._states.encode_mark(CopyMark(self.source, self.target, done))
        return TopicPartition(topics.state, number), COPIED, mark, []

    async def _switch(self, store: StateStore, reader: AIOKafkaConsumer, sight: Sight, copying: Copying) -> None:
        """All positions, and what forbids the source, at once."""
        positions, ids = list[Writing](), list[Writing]()
        for number in range(self._flow.partitions):
            state = TopicPartition(self._new.state, number)
            position, slots = copying.position(number)
            positions.append((state, POSITION, self._states.encode(position), []))
            ids += [
                (state, IDS + b"%d" % place, self._states.encode_ids(serial, entries), [])
                for place, serial, entries in slots
            ]
        for part in (ids[at : at + _SLOTS] for at in range(0, len(ids), _SLOTS)):
            await store.write(part)
        await self._see_that_all_is_stopped()
        for topic in (copying.events, copying.outcomes):
            await topic.alone(reader)
        await self._see_that_it_stood_still(reader, sight)
        marks = [self._marked(self._new, number, done=True) for number in range(self._flow.partitions)]
        marks += [self._marked(self._old, number, done=True) for number in range(sight.partitions)]
        await store.write([*positions, *marks])

    async def _see_that_all_is_stopped(self) -> None:
        if found := await running(self._clients, self._integration, self._catalog, [self.source]):
            raise UserMistake("\n".join(found))

    async def _see_that_it_stood_still(self, reader: AIOKafkaConsumer, sight: Sight) -> None:
        for what, topic in (("events", self._old.events), ("outcomes", self._old.outcomes), ("state", self._old.state)):
            before: dict[TopicPartition, tuple[int, int]] = getattr(sight, what)
            for tp, (_, end) in (await spans(reader, topic, sight.partitions)).items():
                if end != before[tp][1]:
                    raise UserMistake(
                        f"{tp.topic} {tp.partition} went from {before[tp][1]} to {end} meanwhile: stop ingress and "
                        "egress, and begin again"
                    )

    async def _untouched(self, reader: AIOKafkaConsumer, number: int) -> None:
        found: dict[bytes, bytes | None] = {}
        state, events = TopicPartition(self._new.state, number), TopicPartition(self._new.events, number)
        await read_all(reader, state, 0, None, lambda one: found.update({one.key: one.value}))
        if (value := found.get(POSITION)) is not None and self._states.decode(value).epoch > 0:
            raise UserMistake(f"{self.target} {number}: egress has delivered from it; {_ANEW}")
        end = (await reader.end_offsets([events]))[events]
        own: list[bool] = []
        await read_all(reader, events, end - 1, end, lambda one: own.append(copied_from(one) is not None))
        if not all(own):
            raise UserMistake(f"{self.target} {number}: ingress has accepted messages into it; {_ANEW}")

    async def _tell(self, sight: Sight, reason: str) -> None:
        for command in self._carried(sight):
            await self._send(command)
        await self._send(Command(REPARTITIONED, self.target, by=_BY, reason=reason, value=self.source))

    def _carried(self, sight: Sight) -> Iterator[Command]:
        """What the control topic says of the source, and is to be true of the target."""
        paused = sight.control.flows.get(self.source)
        if paused is not None and self.target not in sight.control.flows:
            yield Command(PAUSE, self.target, by=paused.by, reason=paused.reason)
        known = sight.control.transforms
        for (flow, digest), text in known.items():
            if flow == self.source and (self.target, digest) not in known:
                yield Command(TRANSFORM, self.target, by=_BY, value=digest, body=text)

    async def _send(self, command: Command) -> None:
        producer = await started_producer(self._clients.producer())
        try:
            value = CommandCodec(self._catalog).encode(command)
            topic = control_topic(self._integration.integration)
            await producer.send_and_wait(topic, value, command.key, 0, headers=command.headers)
        finally:
            await stop_producer(producer)


_BY = "linkspan repartition"
_ANEW = "copy it again instead, into a flow with a third name"
