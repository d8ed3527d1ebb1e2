"""An integration of two flows, its topics, and its log written as ingress and egress write it."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uuid_utils
import yaml
from aiokafka import AIOKafkaProducer, TopicPartition
from tests.event_encoder import EventEncoder

from linkspan.kernel.codec import OutcomeCodec, RecordCodec
from linkspan.kernel.errors import Poison
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.message import now_micros
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.topic_admin import ensure_topics
from linkspan.kernel.topics import FlowTopics, Headers, conversations_topic, partition_of, status_topic

ASKS, ANSWERS = "orders", "done"
TYPES = {ASKS: "Order", ANSWERS: "OrderDone"}
#: Of a thousand outcomes, the kinds besides ``delivered``.
KINDS = {"attempt_failed": 60, "dead_lettered": 20, "held": 10, "filtered": 10, "expired": 5, "duplicate": 5}


@dataclass
class Logbook:
    """``path``: the integration file. What is appended is remembered: ``counted`` by flow and kind."""

    path: Path
    bootstrap: str
    counted: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def __post_init__(self) -> None:
        self.integration = load_integration(self.path, {})
        self.name, catalog = self.integration.integration, catalog_for(self.integration)
        self.partitions = self.integration.flows[ASKS].partitions
        self.encoders = {flow: EventEncoder(catalog, self.name, type_name) for flow, type_name in TYPES.items()}
        self.outcome = OutcomeCodec(catalog)
        self.conversation, self.window = RecordCodec(catalog, "Conversation"), RecordCodec(catalog, "WindowStatus")
        self.clients = KafkaClients(self.bootstrap)
        self._random, self._epochs = random.Random(7), Counter[str]()

    async def create_topics(self) -> None:
        await ensure_topics(self.bootstrap, self.integration)

    def event(
        self, flow: str, correlation_id: str, message_id: str | None = None, at: int | None = None
    ) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        """Key, value and headers."""
        message_id, key = message_id or str(uuid_utils.uuid7()), str(uuid_utils.uuid7())
        header = {"messageId": message_id, "timestamp": now_micros(), "source": "shop", "destination": "store"}
        header |= {"messageType": "event", "type": TYPES[flow], "version": "1.0"}
        metadata = {"correlationId": correlation_id, "priority": "normal", "ttl": None, "retryCount": 0}
        datum = {"header": header, "payload": {"orderId": key}, "metadata": metadata | {"defaulted": []}}
        headers = [
            (Headers.MESSAGE_ID, message_id.encode()),
            (Headers.CORRELATION_ID, correlation_id.encode()),
            (Headers.TYPE, TYPES[flow].encode()),
            (Headers.ACCEPTED_AT, b"%d" % (at or now_micros())),
        ]
        return key.encode(), self.encoders[flow].encode(datum).value, headers

    async def say(self, flow: str, *said: tuple[str, str | None, int | None]) -> None:
        """Events of (correlation id, message id, accepted at), None: anew, now."""
        async with self.producer() as producer:
            for correlation_id, message_id, at in said:
                await self.append(producer, flow, correlation_id, message_id, at)
            await producer.flush()

    def producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True, linger_ms=2)

    async def append(
        self,
        producer: AIOKafkaProducer,
        flow: str,
        correlation_id: str,
        message_id: str | None = None,
        at: int | None = None,
    ) -> asyncio.Future[Any]:
        key, value, headers = self.event(flow, correlation_id, message_id, at)
        self.counted[flow]["accepted"] += 1
        partition = partition_of(key, self.partitions)
        events = FlowTopics.of(self.name, flow).events
        sent: asyncio.Future[Any] = await producer.send(events, value, key, partition, headers=headers)
        return sent

    async def decide(self, producer: AIOKafkaProducer, flow: str, partition: int, offset: int) -> None:
        """Outcomes of an event, of some kind; now and then a former owner says something that does not count."""
        kind = self._random.choices(["delivered", *KINDS], [1_000 - sum(KINDS.values()), *KINDS.values()])[0]
        epoch = self._epochs[f"{flow}/{partition}"]
        if kind == "attempt_failed":
            await self._record(producer, flow, partition, offset, kind, epoch)
            kind = "delivered"
        await self._record(producer, flow, partition, offset, kind, epoch)
        if epoch and self._random.random() < 0.02:
            await self._record(producer, flow, partition, offset, "dead_lettered", epoch - 1, stale=True)

    async def take_over(self, producer: AIOKafkaProducer, flow: str, partition: int) -> None:
        self._epochs[f"{flow}/{partition}"] += 1
        await self._record(producer, flow, partition, -1, "owner", self._epochs[f"{flow}/{partition}"], stale=True)

    async def _record(
        self,
        producer: AIOKafkaProducer,
        flow: str,
        partition: int,
        offset: int,
        kind: str,
        epoch: int,
        *,
        stale: bool = False,
    ) -> None:
        now = now_micros()
        accepted = now - self._random.randrange(1_000, 2_000_000)
        datum = {"kind": kind, "offset": offset, "at": now, "epoch": epoch, "acceptedAt": accepted}
        headers = [(Headers.KIND, kind.encode()), (Headers.EPOCH, b"%d" % epoch)]
        headers += [(Headers.OFFSET, b"%d" % offset)] if offset >= 0 else []
        outcomes = FlowTopics.of(self.name, flow).outcomes
        await producer.send(outcomes, self.outcome.encode(datum), b"k", partition, headers=headers)
        self.counted[flow][kind] += not stale

    async def conversations(self) -> dict[str, list[dict[str, Any]]]:
        """All records so far by correlation id, in order."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)

        def take(record: Any) -> None:
            said = self.conversation.decode(record.value)
            assert record.key.decode() == said["correlationId"]
            found[said["correlationId"]].append(said)

        await self._read(conversations_topic(self.name), range(self.partitions), take)
        return found

    async def windows(self) -> list[dict[str, Any]]:
        """The latest record of each worker that did not take it back, with its ``key``."""
        latest: dict[bytes, dict[str, Any] | None] = {}

        def take(record: Any) -> None:
            try:
                latest[record.key] = self.window.decode(record.value) if record.value is not None else None
            except Poison:
                return

        await self._read(status_topic(self.name), range(1), take)
        return [found | {"key": key.decode()} for key, found in latest.items() if found is not None]

    async def rows(self, changelog: str) -> dict[bytes, bytes | None]:
        """Of a table, None: removed."""
        found: dict[bytes, bytes | None] = {}
        await self._read(changelog, range(self.partitions), lambda record: found.update({record.key: record.value}))
        return found

    async def table(self, changelog: str) -> dict[int, dict[bytes, bytes]]:
        """Rows of each partition."""
        found: dict[int, dict[bytes, bytes]] = {number: {} for number in range(self.partitions)}

        def take(record: Any) -> None:
            found[record.partition].pop(record.key, None)
            if record.value is not None:
                found[record.partition][record.key] = record.value

        await self._read(changelog, range(self.partitions), take)
        return found

    async def _read(self, topic: str, partitions: range, take: Any) -> None:
        reader = self.clients.reader()
        await reader.start()
        try:
            for number in partitions:
                await read_all(reader, TopicPartition(topic, number), 0, None, take)
        finally:
            await reader.stop()


def correlation() -> str:
    return str(uuid_utils.uuid7())


async def until(wanted: Any, seconds: float = 60, what: str = "") -> Any:
    """What ``wanted()`` gives once it is true."""
    end = time.monotonic() + seconds
    while True:
        found = await wanted()
        if found:
            return found
        assert time.monotonic() < end, what or f"not within {seconds} s"
        await asyncio.sleep(0.3)


def write_integration(folder: Path, *, partitions: int, within: str) -> Path:
    name = "i" + secrets.token_hex(4)
    schemas = folder / "schemas" / name
    schemas.mkdir(parents=True)
    fields = [{"name": "orderId", "type": "string"}]
    for type_name in TYPES.values():
        schema = {"type": "record", "namespace": f"{name}.payload", "name": type_name, "fields": fields}
        (schemas / f"{type_name}.1.avsc").write_text(json.dumps(schema))
    common = {"key": "payload.orderId", "partitions": partitions}
    systems = {
        "shop": {"kind": "rest", "url": "http://127.0.0.1:9"},
        "store": {"kind": "rest", "url": "http://127.0.0.1:9"},
    }
    flows = {
        ASKS: {"from": "shop", "to": "store", "type": "Order", "answer": {"type": "OrderDone", "within": within}},
        ANSWERS: {"from": "store", "to": "shop", "type": "OrderDone"},
    }
    spec = {"integration": name, "systems": systems, "schemas": "schemas"}
    spec["flows"] = {flow: said | common for flow, said in flows.items()}
    path = folder / "integration.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path
