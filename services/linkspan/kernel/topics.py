"""Names and policies of all topics, the record headers, and which partition a key belongs to."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from linkspan.kernel.spec import Integration

DAY_MS = 24 * 3600 * 1000
#: The longest event that is taken; larger content is a blob.
MAX_RECORD_BYTES = 1024 * 1024

_COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "3600000",
    "min.cleanable.dirty.ratio": "0.1",
    "delete.retention.ms": str(7 * DAY_MS),
}


class Headers:
    """Record headers of an event; values are UTF-8 but for ``DIGEST`` (8 bytes)."""

    MESSAGE_ID = "message-id"
    CORRELATION_ID = "correlation-id"
    TYPE = "type"
    TRACEPARENT = "traceparent"
    SCHEMA = "schema"
    DIGEST = "digest"
    ACCEPTED_AT = "accepted-at"
    ACCEPTED_BY = "accepted-by"
    ACCEPTED_SEQ = "accepted-seq"
    PRIORITY = "priority"
    REFUSED = "refused"  # why the value is no event but what came from a source, and is to be a dead letter
    # and of an outcome
    KIND = "kind"
    OFFSET = "offset"
    EPOCH = "epoch"
    PLAN = "plan"
    PARKED = "parked"
    HOLD = "hold"
    CONTROL = "control"
    UNTIL = "until"  # of expired: all events from offset to before this one, gone by retention
    VERSION = "version"  # of owner: that delivers from here on
    FLUSHED = "flushed"  # of discarded: the event was unfinished, and others are given up with it
    COPIED = "copied-from"  # of an event or outcome: <partition>/<offset> of what linkspan repartition made it of
    OTHERWISE = "otherwise"  # of a command: what a version does that does not know it, such as "pause flow orders"
    # and of a copy in parked, after those of the event
    PARKED_KIND = "parked-kind"
    PARKED_AT = "parked-at"
    PARKED_EPOCH = "parked-epoch"
    PARKED_ATTEMPTS = "parked-attempts"
    PARKED_KEY = "parked-key"
    PARKED_FAILURE = "parked-failure"
    PARKED_REASON = "parked-reason"
    PARKED_REDELIVERY = "parked-redelivery"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    name: str
    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FlowTopics:
    """The topics of one flow; all have the flow's partition count and are addressed by number but for events."""

    events: str
    outcomes: str
    parked: str
    state: str
    replays: str

    @classmethod
    def of(cls, integration: str, flow: str) -> FlowTopics:
        return cls(*(f"{integration}.{flow}.{part}" for part in ("events", "outcomes", "parked", "state", "replays")))

    @property
    def flow(self) -> str:
        return self.events.split(".")[1]


def egress_group(integration: str, flow: str) -> str:
    """The consumer group that delivers a flow."""
    return f"linkspan-{integration}-{flow}-egress"


def ledger_group(integration: str) -> str:
    """Its members share out the partitions of all flows; nothing is committed to it."""
    return f"linkspan-{integration}-ledger"


def control_topic(integration: str) -> str:
    return f"{integration}.control"


def schemas_topic(integration: str) -> str:
    """What the versions of Linkspan write with; key: the fingerprint in hex, value: the schema."""
    return f"{integration}.schemas"


def status_topic(integration: str) -> str:
    return f"{integration}.status"


#: Records of the status topic whose key begins so are insight's ``WindowStatus``, the others a replica's ``Status``.
WINDOW_STATUS = b"insight/"


def sources_topic(integration: str) -> str:
    return f"{integration}.sources"


def key_uses_topic(integration: str) -> str:
    return f"{integration}.key-uses"


def conversations_topic(integration: str) -> str:
    return f"{integration}.conversations"


@dataclass(frozen=True, slots=True)
class InsightTopics:
    """Faust's own; ``app`` is its id, and that of its group. ``changelog`` names them as Faust does."""

    app: str

    @classmethod
    def of(cls, integration: str) -> InsightTopics:
        return cls(f"linkspan-insight-{integration}")

    @property
    def mentions(self) -> str:
        """What events say about conversations, by correlation id."""
        return f"{self.app}-mentions-repartition"

    def changelog(self, table: str) -> str:
        return f"{self.app}-{table}-changelog"

    @staticmethod
    def windows(flow: str) -> str:
        """The table of a flow's windows."""
        return f"windows-{flow}"


#: The table of the conversations.
CONVERSATIONS_TABLE = "conversations"


def conversation_partitions(spec: Integration) -> int:
    return spec.conversation_partitions or max(flow.partitions for flow in spec.flows.values())


def all_topics(spec: Integration) -> Iterable[TopicSpec]:
    """Every topic that the integration needs, with its policy."""
    for name, flow in spec.flows.items():
        yield from _flow_topics(FlowTopics.of(spec.integration, name), flow.partitions, flow.retention_days)
    yield TopicSpec(control_topic(spec.integration), 1, {"cleanup.policy": "delete", "retention.ms": "-1"})
    yield TopicSpec(schemas_topic(spec.integration), 1, _COMPACTED)
    yield TopicSpec(
        status_topic(spec.integration), 1, {"cleanup.policy": "compact,delete", "retention.ms": str(3600 * 1000)}
    )
    yield TopicSpec(sources_topic(spec.integration), max(1, len(spec.sources())), _COMPACTED)
    yield TopicSpec(key_uses_topic(spec.integration), 1, _COMPACTED)
    yield from _insight_topics(spec)


def _insight_topics(spec: Integration) -> Iterable[TopicSpec]:
    partitions, topics = conversation_partitions(spec), InsightTopics.of(spec.integration)
    kept = {"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS)}
    yield TopicSpec(conversations_topic(spec.integration), partitions, kept)
    for name, flow in spec.flows.items():
        yield TopicSpec(topics.changelog(topics.windows(name)), flow.partitions, _COMPACTED)
    if any(flow.answer for flow in spec.flows.values()):
        yield TopicSpec(topics.mentions, partitions, {"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS)})
        yield TopicSpec(topics.changelog(CONVERSATIONS_TABLE), partitions, _COMPACTED)


def _flow_topics(topics: FlowTopics, partitions: int, days: int) -> Iterable[TopicSpec]:
    large = {"max.message.bytes": str(MAX_RECORD_BYTES + 128 * 1024)}
    kept = {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}
    yield TopicSpec(topics.events, partitions, kept | large)
    yield TopicSpec(topics.outcomes, partitions, {"cleanup.policy": "delete", "retention.ms": str((days + 7) * DAY_MS)})
    yield TopicSpec(topics.parked, partitions, _COMPACTED | large)
    yield TopicSpec(topics.state, partitions, _COMPACTED)
    yield TopicSpec(topics.replays, partitions, _COMPACTED)


@lru_cache(maxsize=65536)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Kafka's default partitioner (Java client, murmur2) gives the key."""
    return (_murmur2(key) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    """Kafka's hash of a key; aiokafka's, which goes byte by byte, takes twice as long."""
    length, mask, m = len(data), 0xFFFFFFFF, 0x5BD1E995
    hashed = 0x9747B28C ^ length
    whole = length & ~3
    for word in struct.unpack_from(f"<{whole >> 2}I", data):
        mixed = word * m & mask
        hashed = (hashed * m ^ (mixed ^ mixed >> 24) * m) & mask
    if length & 3:
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * m & mask
    hashed = (hashed ^ hashed >> 13) * m & mask
    return hashed ^ hashed >> 15
