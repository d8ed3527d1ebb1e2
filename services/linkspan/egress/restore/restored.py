"""From what was found to what is written, for all partitions of an integration."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.control.fold import ControlState
from linkspan.egress.restore.look import Found, Look
from linkspan.egress.restore.running import running
from linkspan.egress.restore.write import Writer
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.commands import RESTORED, Command, CommandCodec
from linkspan.kernel.errors import Poison
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer, stop_producer
from linkspan.kernel.kafka.gap import leave_out
from linkspan.kernel.kafka.published import PublishedSchemas
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.plan import PlanHead
from linkspan.kernel.records.state import StateCodec
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.topics import control_topic

#: Told what is being done, and of how much.
Say = Callable[[str, int, int], None]


@dataclass(slots=True)
class Everything:
    """``running``: who is still at work and must not be, a line each; ``replays``: plans under way."""

    cluster: str
    found: list[Found] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    replays: list[str] = field(default_factory=list)
    control_end: int = 0

    @property
    def moved(self) -> list[Found]:
        return [one for one in self.found if one.moved]


class Restoration:
    """``look`` changes nothing; ``write`` what it found. Raises KafkaError."""

    def __init__(self, clients: KafkaClients, integration: Integration, catalog: SchemaCatalog, say: Say) -> None:
        self._clients, self._integration, self._catalog, self._say = clients, integration, catalog, say
        self._states, self._commands = StateCodec(catalog), CommandCodec(catalog)
        self._schemas = PublishedSchemas(clients, integration.integration, catalog)
        self._control = TopicPartition(control_topic(integration.integration), 0)

    async def look(self) -> Everything:
        everything = Everything(await self._clients.cluster())
        await self._schemas.refresh()
        everything.running = await running(self._clients, self._integration, self._catalog)
        async with self._reading() as reader:
            named, everything.replays, everything.control_end = await self._commanded(reader)
            name = self._integration.integration
            look = Look(reader, self._states, name, everything.cluster, named, everything.control_end)
            parts = [
                (flow, spec, number)
                for flow, spec in self._integration.flows.items()
                for number in range(spec.partitions)
            ]
            for at, (flow, spec, number) in enumerate(parts):
                self._say("read", at, len(parts))
                everything.found.append(await look.at(flow, number, spec.duplicates))
        return everything

    async def write(self, everything: Everything, skip: int, reason: str) -> None:
        """``skip``: offsets that are left out above the highest that is named, for what was lost without a trace."""
        name = self._integration.integration
        await self._schemas.ready()
        self._say("leave out offsets", 0, 1)
        ends = await leave_out(self._clients, self._gaps(everything, skip), f"linkspan-restored-{name}")
        writer = Writer(self._clients, name, self._states, OutcomeCodec(self._catalog))
        for at, found in enumerate(everything.found):
            self._say("write", at, len(everything.found))
            end = ends[found.tp(found.topics.events)]
            await writer.write(found, self._integration.flows[found.flow].to, end)
        await self._tell(Command(RESTORED, by="linkspan restored", reason=reason))

    def _gaps(self, everything: Everything, skip: int) -> dict[TopicPartition, int]:
        targets = {}
        for found in everything.found:
            end = max(found.events[1], found.named + 1)
            targets[found.tp(found.topics.events)] = end if found.done else end + skip
            targets[found.tp(found.topics.outcomes)] = max(found.outcomes[1], found.old.position.outcomes)
        named = max(found.control for found in everything.found) + 1
        return targets | {self._control: max(everything.control_end, named)}

    async def _tell(self, command: Command) -> None:
        producer = self._clients.producer()
        await producer.start()
        try:
            await producer.send_and_wait(self._control.topic, self._commands.encode(command), command.key, 0)
        finally:
            await stop_producer(producer)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AIOKafkaConsumer]:
        reader = self._clients.reader()
        try:
            await reader.start()
            yield reader
        finally:
            await stop_consumer(reader)

    async def _commanded(self, reader: AIOKafkaConsumer) -> tuple[dict[tuple[str, int], int], list[str], int]:
        """The highest event offset that commands and plans name, by partition; plans under way; the log's end."""
        state, named = ControlState(), Counter[tuple[str, int]]()

        def name(flow: str, partition: int, offset: int) -> None:
            named[flow, partition] = max(named[flow, partition], offset)

        def take(record: Any) -> None:
            try:
                command = self._commands.read(record.value, record.headers)
            except Poison:
                return
            state.fold(command)
            if command.partition >= 0:
                name(command.flow, command.partition, command.offset)
            if isinstance(command.body, PlanHead):
                for part in command.body.partitions:
                    name(command.flow, part.partition, part.end - 1)

        end = await read_all(reader, self._control, 0, None, take)
        return dict(named), [replay.plan for replay in state.replays if replay.active], end
