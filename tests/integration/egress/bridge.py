"""A small integration of its own for each test: topics, events, outcomes, and egress beside or inside the test."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uuid_utils
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError
from tests.event_encoder import EventEncoder

from linkspan.control.tail import ControlTail
from linkspan.egress.flow import FlowService
from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.commands import Command, CommandCodec
from linkspan.kernel.kafka.clients import KafkaClients, discarded
from linkspan.kernel.message import now_micros
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.kernel.topics import MAX_RECORD_BYTES, FlowTopics, Headers, all_topics, control_topic, partition_of

FLOW = "orders"
PAYLOAD = [
    {"name": "orderId", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "line", "type": "int"},
    {"name": "text", "type": "string", "default": ""},
]


def order_id(number: int) -> str:
    return f"01980000-0000-7000-8000-{number:012x}"


@dataclass
class Bridge:
    """``path``: the integration file; ``flow``: the one of its flows that this is about."""

    path: Path
    bootstrap: str
    flow: str = FLOW
    integration: Integration = field(init=False)
    catalog: SchemaCatalog = field(init=False)

    def __post_init__(self) -> None:
        self.integration = load_integration(self.path, {})
        self.catalog = catalog_for(self.integration)
        self.encoder = EventEncoder(self.catalog, self.integration.integration, "Order")
        self.outcomes_codec = OutcomeCodec(self.catalog)
        self.topics = FlowTopics.of(self.integration.integration, self.flow)
        self.partitions = self.integration.flows[self.flow].partitions

    async def create_topics(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            topics = [
                NewTopic(spec.name, spec.partitions, 1, topic_configs=dict(spec.config))
                for spec in all_topics(self.integration)
            ]
            made = await admin.create_topics(topics)
            assert all(code in (0, TopicAlreadyExistsError.errno) for _, code, *_ in made.topic_errors), made
        finally:
            await admin.close()

    def event(
        self,
        key: str,
        line: int,
        ttl: int | None = None,
        age: float = 0.0,
        priority: str = "normal",
        message_id: str | None = None,
        text: str | None = None,
        *,
        flag: bytes = b"-01",
    ) -> tuple[bytes, list[tuple[str, bytes]]]:
        message_id, correlation_id = message_id or str(uuid_utils.uuid7()), str(uuid_utils.uuid7())
        header = {
            "messageId": message_id,
            "timestamp": now_micros() - int(age * 1e6),
            "source": "shop",
            "destination": "store",
            "messageType": "event",
            "type": "Order",
            "version": "1.0",
        }
        metadata = {"correlationId": correlation_id, "priority": priority, "ttl": ttl, "retryCount": 0, "defaulted": []}
        payload = {"orderId": key, "line": line, "text": text or f"line {line}"}
        encoded = self.encoder.encode({"header": header, "payload": payload, "metadata": metadata})
        headers = [
            (Headers.MESSAGE_ID, message_id.encode()),
            (Headers.CORRELATION_ID, correlation_id.encode()),
            (Headers.TYPE, b"Order"),
            (
                Headers.TRACEPARENT,
                b"00-" + secrets.token_hex(16).encode() + b"-" + secrets.token_hex(8).encode() + flag,
            ),
            (Headers.DIGEST, encoded.digest),
            (Headers.PRIORITY, priority.encode()),
            (Headers.ACCEPTED_AT, b"%d" % now_micros()),
        ]
        return encoded.value, headers

    async def append(self, *orders: tuple[str, int], **options: Any) -> list[str]:
        """(order id, line); the ids of the messages, in order."""
        ids = []
        async with AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True, max_request_size=2 * MAX_RECORD_BYTES
        ) as producer:
            waiting = []
            for key, line in orders:
                value, headers = self.event(key, line, **options)
                ids.append(headers[0][1].decode())
                partition = partition_of(key.encode(), self.partitions)
                waiting.append(await producer.send(self.topics.events, value, key.encode(), partition, headers=headers))
            await asyncio.gather(*waiting)
        return ids

    def producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", linger_ms=5)

    async def append_raw(self, value: bytes, key: str, **headers: bytes) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            partition = partition_of(key.encode(), self.partitions)
            said = list(headers.items())
            await producer.send_and_wait(self.topics.events, value, key.encode(), partition, headers=said)

    async def command(self, kind: str, partition: int, offset: int) -> int:
        """Appends it to the control topic; its offset there."""
        value = CommandCodec(self.catalog).encode(Command(kind, self.flow, partition, offset, "a test", "to see"))
        topic = control_topic(self.integration.integration)
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all") as producer:
            return int((await producer.send_and_wait(topic, value, self.flow.encode(), 0)).offset)

    async def letter(self, key: str) -> tuple[int, int]:
        """Partition and event offset of the newest dead letter of this key."""
        found = [one for one in await self.outcomes() if one["kind"] == "dead_lettered" and one["key"] == key]
        return found[-1]["partition"], found[-1]["offset"]

    async def outcomes(self) -> list[dict[str, Any]]:
        """All so far that are about a message, each with its ``partition``; in the order of each partition."""
        return [one for one in await self.all_outcomes() if one["kind"] != "owner"]

    async def all_outcomes(self) -> list[dict[str, Any]]:
        partitions = [TopicPartition(self.topics.outcomes, number) for number in range(self.partitions)]
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            await consumer.seek_to_beginning()
            found: list[dict[str, Any]] = []
            for partition, end in ends.items():
                while await consumer.position(partition) < end:
                    records = (await consumer.getmany(partition, timeout_ms=500)).get(partition, [])
                    where = {"partition": partition.partition}
                    found += [self.outcomes_codec.decode(record.value) | where for record in records]
            return found
        finally:
            await consumer.stop()

    async def wait_outcomes(self, count: int, seconds: float = 30, kinds: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """Waits for so many (of these kinds, or any that finish a message)."""
        end = time.monotonic() + seconds
        while True:
            found = await self.outcomes()
            wanted = [one for one in found if (one["kind"] in kinds if kinds else one["kind"] != "attempt_failed")]
            if len(wanted) >= count:
                return found
            assert time.monotonic() < end, f"{len(wanted)} of {count} outcomes: {wanted[-3:]}"
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def serving(self, tracing: Tracing | None = None) -> AsyncIterator[FlowService]:
        """Egress inside the test's process, ready."""
        blobs, tracing = BlobStore(str(self.path.parent / "blobs")), tracing or Tracing(None, 0.0)
        clients = KafkaClients(self.bootstrap)
        tail = ControlTail(clients, self.integration.integration, CommandCodec(self.catalog))
        following = asyncio.create_task(tail.run())
        service = FlowService(self.integration, self.flow, self.catalog, clients, blobs, tracing, 500, tail)
        await service.start()
        try:
            await asyncio.wait_for(service.member.joined.wait(), 60)
            yield service
        finally:
            await service.stop()
            following.cancel()
            await asyncio.wait({following})
            await discarded()

    @asynccontextmanager
    async def egress(self, *arguments: str, **environ: str) -> AsyncIterator[EgressProcess]:
        process = EgressProcess(self, arguments, environ)
        try:
            await process.start()
            yield process
        finally:
            await process.stop()


class EgressProcess:
    """``linkspan egress`` as a process of its own."""

    def __init__(self, bridge: Bridge, arguments: tuple[str, ...], environ: dict[str, str], port: int = 0) -> None:
        self.port = port
        self._bridge, self._arguments, self._environ = bridge, arguments, environ
        self.address = self.control = ""
        self.log: list[str] = []
        self._drain: list[asyncio.Task[None]] = []

    async def start(self, ready: bool = True) -> None:
        environ = os.environ | {
            "MESSAGE_QUEUE_URL": f"kafka://{self._bridge.bootstrap}",
            "LINKSPAN_DATA": str(self._bridge.path.parent / "data"),
        }
        self._process = await asyncio.create_subprocess_exec(
            *self.command(),
            str(self._bridge.path),
            "--port",
            str(self.port),
            "--control-port",
            "0",
            *self._arguments,
            env=environ | self._environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._drain = [asyncio.create_task(self._read_log())]
        if ready:
            await self.ready()

    def command(self) -> list[str]:
        return [sys.executable, "-c", "import typer; from linkspan.egress.main import egress; typer.run(egress)"]

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> None:
        assert self._process.stdout
        line = (await asyncio.wait_for(self._process.stdout.readline(), 90)).decode()
        assert line.startswith("ready http://"), (line, self.log)
        self.address = line.split()[1]
        self.control = (await self._process.stdout.readline()).decode().split()[1]

    async def _read_log(self) -> None:
        assert self._process.stderr
        async for line in self._process.stderr:
            self.log.append(line.decode().rstrip())

    def lines(self, message: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.log if line.startswith("{")]
        return [line for line in found if line["message"] == message]

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self, seconds: float = 30) -> int:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self._process.wait(), seconds)
        await asyncio.gather(*self._drain)
        return code


def write_integration(folder: Path, store: dict[str, Any], *, partitions: int = 4, **flow: Any) -> Path:
    """An integration that takes orders from ``shop`` to the system ``store``."""
    name = "t" + secrets.token_hex(4)
    schemas = folder / "schemas" / name
    schemas.mkdir(parents=True)
    schema = {"type": "record", "namespace": f"{name}.payload", "name": "Order", "fields": PAYLOAD}
    (schemas / "Order.1.avsc").write_text(json.dumps(schema))
    spec = {
        "integration": name,
        "systems": {"shop": {"kind": "rest", "url": "http://127.0.0.1:9"}, "store": store},
        "flows": {
            FLOW: {"from": "shop", "to": "store", "type": "Order", "key": "payload.orderId", "partitions": partitions}
            | flow
        },
        "schemas": "schemas",
    }
    if "shop" in flow:
        spec["systems"]["shop"] = flow["shop"]
        del spec["flows"][FLOW]["shop"]
    path = folder / "integration.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


def lines_by_key(received: list[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for key, line in received:
        found[key].append(line)
    return dict(found)


def in_order(lines: list[int]) -> bool:
    """First arrivals rise; what repeats an earlier one may come again."""
    seen = -1
    for line in lines:
        if line > seen + 1:
            return False
        seen = max(seen, line)
    return True
