"""Where a rollout is followed: the control topic, what the replicas say, and the outcomes of a stage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaError

from linkspan.cli.rollout.counts import Counts
from linkspan.control.commands import Commands
from linkspan.control.errors import Away
from linkspan.control.fold import ControlState
from linkspan.control.status_view import StatusView
from linkspan.control.tail import ControlTail
from linkspan.control.trail import Given
from linkspan.egress.own.split import said_of
from linkspan.kernel.commands import Command, CommandCodec
from linkspan.kernel.config import Settings, read_settings
from linkspan.kernel.errors import KafkaAway, UserMistake
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.records.outcome import fact_of
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.tls.plain import check_encrypted
from linkspan.kernel.topics import FlowTopics, Headers, egress_group

log = structlog.get_logger()

_LIMIT = 30.0
#: Outcomes are read from so long before a stage began, as clocks differ; whose they are an ``owner`` says.
_BEFORE_MS = 10_000
_AGAIN = 2.0
#: The ends of the outcomes are asked for so often, seconds.
_ENDS = 1.0
#: And have to be said within so many seconds.
_ANSWER = 5.0
#: A group that is rebalancing is looked at so often, so many seconds apart.
_LOOKS, _LOOK = 30, 1.0
_SETTLED = ("Stable", "Empty", "Dead")


@dataclass(frozen=True, slots=True)
class Place:
    integration: Integration
    clients: KafkaClients
    tail: ControlTail
    view: StatusView
    commands: Commands

    @property
    def state(self) -> ControlState:
        return self.tail.state

    async def give(self, command: Command) -> Given:
        """Raises KafkaAway."""
        try:
            (given,) = await self.commands.give([command])
        except Away as error:
            raise KafkaAway(str(error)) from error
        return given


@asynccontextmanager
async def at_kafka(file: Path, environ: Mapping[str, str]) -> AsyncIterator[Place]:
    """All commands are read. Raises UserMistake, KafkaAway."""
    integration = load_integration(file, environ)
    settings: Settings = read_settings()
    check_encrypted(settings, integration)
    clients, catalog = (
        KafkaClients(settings.kafka, settings.kafka_security, name="linkspan-rollout"),
        catalog_for(integration),
    )
    codec = CommandCodec(catalog)
    tail, view = (
        ControlTail(clients, integration.integration, codec),
        StatusView(clients, integration.integration, catalog),
    )
    commands = Commands(clients, tail, codec)
    tasks = [asyncio.create_task(tail.run()), asyncio.create_task(view.run())]
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LIMIT):
                await tail.caught_up.wait()
        if not tail.caught_up.is_set():
            raise KafkaAway(f"{tail.trouble()}; is MESSAGE_QUEUE_URL right, and is it running?")
        yield Place(integration, clients, tail, view, commands)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=10)
        await commands.close()


async def unaware(place: Place, flow: str) -> int:
    """Members of a flow's group that say nothing of their version, and so know no rollouts. Raises KafkaError, and
    UserMistake where members come and go all the time: Kafka says nothing of them then."""
    admin = place.clients.admin()
    try:
        await admin.start()
        for _ in range(_LOOKS):
            answers = await admin.describe_consumer_groups([egress_group(place.integration.integration, flow)])
            # error code, group, state, protocol type, protocol, members, …
            groups = [group for answer in answers for group in answer.groups]
            if all(group[2] in _SETTLED for group in groups):
                break
            await asyncio.sleep(_LOOK)
        else:
            raise UserMistake(
                f"{flow}: its replicas come and go just now; begin when linkspan status shows all of them"
            )
    finally:
        await admin.close()
    metadata = [member[3] for group in groups for member in group[5]]
    said = [ConsumerProtocolMemberMetadata.decode(one).user_data for one in metadata]
    return sum(not said_of(one).version for one in said)


class StageCounts:
    """Counts the outcomes of ``flows`` since ``since`` (microseconds since 1970). ``run`` until cancelled."""

    def __init__(self, place: Place, flows: Mapping[str, int], since: int) -> None:
        self._clients, self._since = place.clients, since
        named = {flow: FlowTopics.of(place.integration.integration, flow).outcomes for flow in flows}
        self._flows = {topic: flow for flow, topic in named.items()}
        self._partitions = [
            TopicPartition(named[flow], number) for flow, count in flows.items() for number in range(count)
        ]
        self._next: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._asked = self._until = self._ask_at = 0.0
        self._trouble: str | None = None
        self.counts = Counts()

    def missing(self, until: float) -> str | None:
        """Why not all that was told before ``until`` (seconds since 1970) is counted; None: it is."""
        if self._until >= until:
            return None
        return self._trouble or "not all outcomes are counted yet"

    async def run(self) -> None:
        while True:
            reader = self._clients.reader()
            try:
                await reader.start()
                await self._follow(reader)
            except (KafkaError, OSError, TimeoutError) as error:
                self._trouble = f"the outcomes cannot be read ({error!r})"
                log.warning("outcomes cannot be read", error=repr(error))
            finally:
                await stop_consumer(reader)
            await asyncio.sleep(_AGAIN)

    async def _follow(self, reader: AIOKafkaConsumer) -> None:
        reader.assign(self._partitions)
        if not self._next:
            at = self._since // 1000 - _BEFORE_MS
            ends = await reader.end_offsets(self._partitions)
            found = await reader.offsets_for_times(dict.fromkeys(self._partitions, at))
            self._next = {tp: found[tp].offset if found.get(tp) else ends[tp] for tp in self._partitions}
        for tp, offset in self._next.items():
            reader.seek(tp, offset)
        while True:
            for tp, records in (await reader.getmany(timeout_ms=500, max_records=5_000)).items():
                for record in records:
                    self._take(tp, record)
                    self._next[tp] = record.offset + 1
            self._next = {tp: await reader.position(tp) for tp in self._partitions}
            await self._see_ends(reader)

    async def _see_ends(self, reader: AIOKafkaConsumer) -> None:
        """What was told before it last asked is counted where the ends of then are reached."""
        now = time.time()
        if now < self._ask_at or any(self._next[tp] < end for tp, end in self._ends.items()):
            return
        self._ask_at, self._until = now + _ENDS, self._asked
        try:
            async with asyncio.timeout(_ANSWER):
                self._ends = await reader.end_offsets(self._partitions)
        except (KafkaError, TimeoutError) as error:  # what can be read is counted meanwhile
            self._trouble = f"the ends of the outcomes are not known ({error!r})"
        else:
            self._asked, self._trouble = now, None

    def _take(self, tp: TopicPartition, record: object) -> None:
        fact = fact_of(record)
        if fact.plan:
            return
        version = dict(record.headers).get(Headers.VERSION, b"").decode("utf-8", "replace")  # type: ignore[attr-defined]
        self.counts.told(self._flows[tp.topic], tp.partition, fact.kind, fact.epoch, version)
