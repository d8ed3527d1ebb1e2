"""Records of Kafka, read as what they say, by stream; contents are let go at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from aiokafka import TopicPartition

from linkspan.kernel.codec import OutcomeCodec, RecordCodec
from linkspan.kernel.errors import Poison
from linkspan.kernel.kafka.published import PublishedSchemas, Reads
from linkspan.kernel.records.position import Position
from linkspan.kernel.records.state import POSITION, StateCodec
from linkspan.kernel.schemas import SchemaCatalog, UnknownSchema
from linkspan.kernel.spec import Integration
from linkspan.kernel.topics import FlowTopics, conversations_topic
from linkspan.ledger.conversation import ConversationSaid, conversation_said
from linkspan.ledger.said import EventSaid, OutcomeSaid, event_said, outcome_said
from linkspan.ledger.streams import Name
from linkspan.readmodel.tables import CONVERSATIONS

log = structlog.get_logger()


@dataclass(slots=True)
class Said:
    """Of one stream, in the order of each log. ``state``: the offset of the record that told the position last;
    ``events_read``, ``outcomes_read``, ``conversations_read``: the next of that log, -1 where not known. Markers of
    transactions take offsets and are no records."""

    events: list[EventSaid] = field(default_factory=list)
    outcomes: list[OutcomeSaid] = field(default_factory=list)
    position: Position | None = None
    state: int = -1
    conversations: list[ConversationSaid] = field(default_factory=list)
    conversations_read: int = -1
    events_read: int = -1
    outcomes_read: int = -1

    def __len__(self) -> int:
        return len(self.events) + len(self.outcomes) + len(self.conversations)


class Topics:
    """Which topic of an integration belongs to which part of the ledger."""

    def __init__(self, integration: Integration) -> None:
        self.conversations = conversations_topic(integration.integration)
        self.by_flow = {name: FlowTopics.of(integration.integration, name) for name in integration.flows}
        self.flow_of = {topics.events: name for name, topics in self.by_flow.items()}
        self.partitions = {name: flow.partitions for name, flow in integration.flows.items()}

    def names(self, assigned: Iterable[TopicPartition]) -> set[Name]:
        """Events stand for all of a flow's partition."""
        return {
            (CONVERSATIONS if tp.topic == self.conversations else self.flow_of[tp.topic], tp.partition)
            for tp in assigned
        }


class Take(Protocol):
    def __call__(self, said: Said, records: list[Any]) -> None: ...


class Gatherer:
    """Turns what ``getmany`` gives into what it says."""

    def __init__(self, catalog: SchemaCatalog, topics: Topics) -> None:
        self._outcomes, self._state = OutcomeCodec(catalog), StateCodec(catalog)
        self._conversations = _conversations_codec(catalog)
        self._codecs: dict[str, Reads] = {}
        self._takes: dict[str, tuple[str, Callable[[Said, list[Any]], None]]] = {}
        for name, flow in topics.by_flow.items():
            self._takes[flow.events] = (name, self._take_events)
            self._takes[flow.outcomes] = (name, self._take_outcomes)
            self._takes[flow.state] = (name, self._take_state)
            self._codecs |= {flow.outcomes: self._outcomes, flow.state: self._state}
        if self._conversations is not None:
            self._codecs[topics.conversations] = self._conversations
        self._takes[topics.conversations] = (CONVERSATIONS, self._take_conversations)

    async def learn(self, schemas: PublishedSchemas, found: dict[TopicPartition, list[Any]]) -> None:
        """Before ``take``: what other versions wrote. Raises KafkaError, TimeoutError."""
        for tp, records in found.items():
            codec = self._codecs.get(tp.topic)
            if codec is not None:
                await schemas.learn(codec, *(record.value for record in records))

    def take(self, into: dict[Name, Said], found: dict[TopicPartition, list[Any]]) -> int:
        """How many bytes of values there were."""
        size = 0
        for tp, records in found.items():
            flow, take = self._takes[tp.topic]
            take(into.setdefault((flow, tp.partition), Said()), records)
            size += sum(len(record.value or b"") for record in records)
        return size

    @staticmethod
    def _take_events(said: Said, records: list[Any]) -> None:
        said.events.extend(map(event_said, records))

    def _take_outcomes(self, said: Said, records: list[Any]) -> None:
        codec = self._outcomes
        said.outcomes.extend(outcome_said(record, codec) for record in records)

    def _take_state(self, said: Said, records: list[Any]) -> None:
        for record in records:
            if record.key == POSITION and record.value is not None:
                try:
                    said.position = self._state.decode(record.value)
                except Poison as error:
                    log.warning("a position cannot be read", offset=record.offset, error=str(error))
        said.state = records[-1].offset

    def _take_conversations(self, said: Said, records: list[Any]) -> None:
        said.conversations_read = records[-1].offset + 1
        if self._conversations is not None:
            found = (conversation_said(record, self._conversations) for record in records)
            said.conversations.extend(one for one in found if one is not None)


def _conversations_codec(catalog: SchemaCatalog) -> RecordCodec | None:
    try:
        return RecordCodec(catalog, "Conversation")
    except UnknownSchema:
        return None
