"""A shadow: this version transforms live events too, and what it makes is compared with what was really delivered.

Nothing is sent, nothing is written, and no group is joined. Outcomes say in eight bytes what left
(``kernel.records.sent``).
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.kernel.codec import Datum, Decoder, OutcomeCodec
from linkspan.kernel.errors import DeliveryError, FailureClass, Poison
from linkspan.kernel.kafka.clients import stop_consumer
from linkspan.kernel.records.epoch import Epoch
from linkspan.kernel.records.fact import DEAD, DELIVERED
from linkspan.kernel.records.outcome import fact_of
from linkspan.kernel.records.sent import sent_digest
from linkspan.kernel.topics import FlowTopics
from linkspan.readmodel.standing import positions
from linkspan.replay.compared import Versions, made_by
from linkspan.replay.place import Place

#: Events that are kept until their outcome comes, and outcomes whose event does not come.
_KEPT = 20_000
_FETCH_MS = 250
#: Why something could not be compared.
NO_DIGEST, NO_EVENT, NOT_ASKED, NO_ANSWER, UNREADABLE = (
    "its outcome does not say what left",
    "its event was accepted before the shadow began",
    "its transform asks a system, and enough was asked",
    "its transform asks a system, which did not answer",
    "its bytes cannot be read",
)


class Difference(msgspec.Struct, frozen=True):
    """``then``, ``now``: JSON of what the transform that delivered it makes of it, and of what this one does;
    ``error``: why this one makes nothing, or why one cannot be shown. ``transform``: hash of the former."""

    partition: int
    offset: int
    message_id: str
    transform: str
    then: str = ""
    now: str = ""
    error: str = ""


@dataclass(slots=True)
class Compared:
    """``failed``: this version makes nothing of what was delivered. ``not_comparable``: by why."""

    equal: int = 0
    different: int = 0
    failed: int = 0
    not_comparable: Counter[str] = field(default_factory=Counter)
    samples: list[Difference] = field(default_factory=list)

    @property
    def compared(self) -> int:
        return self.equal + self.different + self.failed

    @property
    def share(self) -> float:
        """Of what was compared: what was not equal."""
        return (self.different + self.failed) / self.compared if self.compared else 0.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """``seconds`` it lasts at most, and ``messages`` that are compared; ``asked``: lookups a second at most;
    ``samples`` of differences that are kept."""

    seconds: float
    messages: int | None = None
    asked: float = 1.0
    samples: int = 5


Texts = Callable[[], Awaitable[dict[str, str]]]


class Shadow:
    """Of one flow. ``texts`` gives those of the transforms that delivered something, by hash. Raises UserMistake where
    the transform cannot be used; ``close`` at the end."""

    def __init__(self, place: Place, flow: str, texts: Texts, bounds: Bounds) -> None:
        spec = place.integration.flows[flow]
        self._place, self._flow, self._bounds, self._partitions = place, flow, bounds, range(spec.partitions)
        self._topics, self._type = place.topics(flow), {"type": spec.delivers or spec.type}
        self._decoder = Decoder.of_events(place.catalog, place.integration.integration, [spec.type])
        self._codec, self._schemas = OutcomeCodec(place.catalog), place.schemas
        self._versions, self._texts = place.versions(flow, {}), texts
        self._transform = self._versions.today()
        self._differ: list[tuple[Any, Datum, Datum, str]] = []
        self._events: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._early: OrderedDict[tuple[int, int], Datum] = OrderedDict()
        self._epochs = {number: Epoch() for number in self._partitions}
        self._firsts: dict[int, int] = {}
        self._asks_from = self._began = 0.0
        self.found = Compared()

    async def close(self) -> None:
        await self._versions.close()

    async def run(self) -> Compared:
        """Raises KafkaError, TimeoutError."""
        reader = self._place.clients.reader()
        try:
            await reader.start()
            await self._assign(reader)
            await self._follow(reader)
        finally:
            await stop_consumer(reader)
        await self._samples()
        return self.found

    async def _assign(self, reader: AIOKafkaConsumer) -> None:
        """Outcomes from now on; events from where their owners are, as what is under way has no outcome yet."""
        topics: FlowTopics = self._topics
        events = [TopicPartition(topics.events, number) for number in self._partitions]
        outcomes = [TopicPartition(topics.outcomes, number) for number in self._partitions]
        integration = self._place.integration.integration
        stand = await positions(self._place.clients, integration, self._flow, self._partitions)
        reader.assign(events + outcomes)
        starts = await reader.beginning_offsets(events)
        for tp, end in (await reader.end_offsets(outcomes)).items():
            reader.seek(tp, end)
        for tp in events:
            self._firsts[tp.partition] = max(starts[tp], stand[tp.partition] or 0)
            reader.seek(tp, self._firsts[tp.partition])

    async def _follow(self, reader: AIOKafkaConsumer) -> None:
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        while loop.time() < self._began + self._bounds.seconds and not self._enough():
            found = await reader.getmany(timeout_ms=_FETCH_MS)
            for tp, records in found.items():
                if tp.topic == self._topics.events:
                    await self._taken_in(tp.partition, records)
            for tp, records in found.items():
                if tp.topic == self._topics.outcomes:
                    await self._told(tp.partition, records)

    def _enough(self) -> bool:
        return self._bounds.messages is not None and self.found.compared >= self._bounds.messages

    async def _taken_in(self, partition: int, records: list[Any]) -> None:
        await self._schemas.learn(self._decoder, *(record.value for record in records))
        for record in records:
            said = self._early.pop((partition, record.offset), None)
            if said is not None:
                await self._compare(record, said)
            else:
                self._events[partition, record.offset] = record
        while len(self._events) > _KEPT:
            self._events.popitem(last=False)

    async def _told(self, partition: int, records: list[Any]) -> None:
        await self._schemas.learn(self._codec, *(record.value for record in records))
        for record in records:
            if self._enough():
                return
            fact = fact_of(record)
            if not fact.plan and self._epochs[partition].valid(fact.kind, fact.epoch):
                await self._outcome(partition, fact.kind, record)

    async def _outcome(self, partition: int, kind: str, record: Any) -> None:
        if kind not in (DELIVERED, DEAD):
            return
        try:
            said = self._codec.decode(record.value)
        except Poison:
            self.found.not_comparable[NO_DIGEST] += 1
            return
        if kind == DEAD and said["failure"] != FailureClass.POISON.value:
            return
        event = self._events.pop((partition, said["offset"]), None)
        if event is not None:
            await self._compare(event, said)
        elif said["offset"] < self._firsts[partition]:
            self.found.not_comparable[NO_EVENT] += 1
        else:
            self._early[partition, said["offset"]] = said
            if len(self._early) > _KEPT:
                self._early.popitem(last=False)
                self.found.not_comparable[NO_EVENT] += 1

    async def _compare(self, event: Any, said: Datum) -> None:
        if said["kind"] == DELIVERED and said["sent"] is None:
            self.found.not_comparable[NO_DIGEST] += 1
            return
        try:
            message = self._decoder.json(event.value)
        except Poison:
            self.found.not_comparable[UNREADABLE] += 1
            return
        try:
            payload = await self._made(message)
        except DeliveryError as error:
            self._nothing(event, said, message, error)
            return
        if payload is None:
            self.found.not_comparable[NOT_ASKED] += 1
        elif said["sent"] is not None and said["sent"] == sent_digest(message["header"] | self._type, payload):
            self.found.equal += 1
        else:
            self.found.different += 1
            self._keep(event, said, message, "")

    async def _made(self, message: Datum) -> Any:
        """None where a system would have to be asked, and enough was asked. Raises DeliveryError."""
        payload = self._transform.apply_now(message)
        if payload is not None:
            return payload
        if self._transform.asks and not self._may_ask():
            return None
        return await self._transform.apply(message)

    def _may_ask(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now < self._asks_from or self._bounds.asked <= 0:
            return False
        self._asks_from = max(self._asks_from, now - 1) + 1 / self._bounds.asked
        return True

    def _nothing(self, event: Any, said: Datum, message: Datum, error: DeliveryError) -> None:
        """This version makes nothing of it."""
        if error.failure is not FailureClass.POISON:
            self.found.not_comparable[NO_ANSWER] += 1
        elif said["kind"] == DEAD:
            self.found.equal += 1
        else:
            self.found.failed += 1
            self._keep(event, said, message, error.reason)

    def _keep(self, event: Any, said: Datum, message: Datum, error: str) -> None:
        if len(self._differ) < self._bounds.samples:
            self._differ.append((event, said, message, error))

    async def _samples(self) -> None:
        """Both transforms are asked again for what is shown alone: they may ask systems."""
        if not self._differ:
            return
        versions = self._place.versions(self._flow, await self._texts())
        try:
            self.found.samples = [await _difference(versions, *one) for one in self._differ]
        finally:
            await versions.close()


async def _difference(versions: Versions, event: Any, said: Datum, message: Datum, error: str) -> Difference:
    hash_, dead = said["transform"] or "", said["kind"] == DEAD
    now, wrong = ("", error) if error else await made_by(message, versions, "")
    then, of_then = ("", f"it is a dead letter: {said['reason']}") if dead else ("", "")
    if hash_ and not dead:
        then, of_then = await made_by(message, versions, hash_)
    return Difference(event.partition, event.offset, said["messageId"] or "", hash_, then, now, wrong or of_then)
