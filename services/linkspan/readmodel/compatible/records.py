"""The newest records of each partition: can this version read them, and would it give them the same key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from linkspan.kernel.codec import Decoder, OutcomeCodec, RecordCodec
from linkspan.kernel.commands import CommandCodec
from linkspan.kernel.errors import InvalidMessage, Poison
from linkspan.kernel.message import key_of
from linkspan.kernel.records.state import StateCodec
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Flow, Integration
from linkspan.kernel.topics import (
    WINDOW_STATUS,
    FlowTopics,
    Headers,
    control_topic,
    conversations_topic,
    partition_of,
    status_topic,
)
from linkspan.readmodel.compatible.finding import Finding


class Reads(Protocol):
    def unknown(self, value: bytes | None) -> bytes | None: ...


class Records:
    """``codecs``: of each topic that is looked at."""

    def __init__(self, catalog: SchemaCatalog, integration: Integration) -> None:
        self._integration = integration
        name = integration.integration
        self._windows = RecordCodec(catalog, "WindowStatus")
        self._events: dict[str, tuple[str, Flow, Decoder]] = {}
        self.codecs: dict[str, Reads] = {
            control_topic(name): CommandCodec(catalog),
            status_topic(name): RecordCodec(catalog, "Status"),
            conversations_topic(name): RecordCodec(catalog, "Conversation"),
        }
        for flow, spec in integration.flows.items():
            topics, decoder = FlowTopics.of(name, flow), Decoder.of_events(catalog, name, [spec.type])
            self._events[topics.events] = flow, spec, decoder
            self.codecs |= {topics.events: decoder, topics.parked: decoder, topics.outcomes: OutcomeCodec(catalog)}
            self.codecs |= {topics.state: StateCodec(catalog), topics.replays: RecordCodec(catalog, "PlanChunk")}

    def judged(self, topic: str, record: Any) -> Finding | None:
        """Of a topic in ``codecs``."""
        headers = dict(record.headers)
        if record.value is None or Headers.REFUSED in headers:
            return None
        windows = record.key is not None and record.key.startswith(WINDOW_STATUS) and topic.endswith(".status")
        codec = self._windows if windows else self.codecs[topic]
        unknown = codec.unknown(record.value)
        if unknown is not None:
            what = f"was written with a schema ({unknown.hex()}) that this version does not have and nobody published"
            return Finding(_place(record), what)
        return self._keyed(record) if topic in self._events else None

    def _keyed(self, record: Any) -> Finding | None:
        flow, spec, decoder = self._events[record.topic]
        try:
            message = decoder.json(record.value)
            key = key_of(message, spec.key) if spec.key else str(message["header"]["messageId"])
        except Poison:
            return None
        except InvalidMessage as error:
            return _moved(flow, record, f"has no key by this file ({error})")
        if record.key != key.encode():
            return _moved(flow, record, "has another key than by this file")
        if partition_of(record.key, spec.partitions) != record.partition:
            return _moved(flow, record, f"does not belong to its partition with {spec.partitions} partitions")
        return None


def _place(record: Any) -> str:
    return f"{record.topic} partition {record.partition} offset {record.offset}"


def _moved(flow: str, record: Any, what: str) -> Finding:
    named = f"the event at partition {record.partition} offset {record.offset}"
    return Finding(f"flows.{flow}.key", f"{named} {what}: of one entity later messages would overtake earlier ones")


def once_each(found: Iterator[Finding | None]) -> list[Finding]:
    """One for each place and topic is enough: of many records the same would be said."""
    said: dict[str, Finding] = {}
    for one in found:
        if one is not None:
            said.setdefault(one.where.partition(" ")[0], one)
    return list(said.values())
