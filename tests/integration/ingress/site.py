"""An integration of two systems made for one test module, and ingress replicas that serve it."""

import asyncio
import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.broker.ports import choose
from linkspan.kernel.codec import Decoder
from linkspan.kernel.spec_file import catalog_for, load_integration

PARTITIONS = 2
SPEC = """
integration: {name}
schemas: schemas
systems:
  shop:
    kind: rest
    url: http://127.0.0.1:{shop}
    auth: {{api_key: s}}
    {poll}
  works:
    kind: websocket
    url: ws://127.0.0.1:{works}
    subprotocol: works.v1
    source: /v1/events
    auth: {{api_key: the-key}}
    heartbeat: {heartbeat}
flows:
  orders:
    from: shop
    to: works
    type: OrderPlaced
    key: payload.orderId
    when_kafka_is_away: {away}
    partitions: {partitions}
  reports:
    from: works
    to: shop
    type: OrderDone
    key: payload.orderId
    partitions: {partitions}
"""
UUID = {"type": "string", "logicalType": "uuid"}
ORDER = [
    {"name": "orderId", "type": UUID},
    {"name": "count", "type": "int"},
    {"name": "note", "type": "string", "default": "none"},
    {"name": "metadata", "type": ["null", {"type": "map", "values": "string"}], "default": None},
    {"name": "drawing", "type": ["null", "bytes", "linkspan.BlobReference"], "default": None},
]
DONE = [{"name": "orderId", "type": UUID}, {"name": "result", "type": "string"}]


@dataclass
class Site:
    """``folder`` holds the integration file, its schemas and the blobs."""

    folder: Path
    bootstrap: str
    works_port: int = field(default_factory=choose)
    heartbeat: str = "30s"
    away: str = "refuse"
    shop_port: int = field(default_factory=choose)
    poll: str = ""
    name: str = field(default_factory=lambda: f"in{secrets.token_hex(4)}")

    def __post_init__(self) -> None:
        schemas = self.folder / "schemas" / self.name
        schemas.mkdir(parents=True)
        for name, fields in (("OrderPlaced", ORDER), ("OrderDone", DONE)):
            schema = {"type": "record", "namespace": f"{self.name}.payload", "name": name, "fields": fields}
            (schemas / f"{name}.1.avsc").write_text(json.dumps(schema))
        text = SPEC.format(
            name=self.name,
            shop=self.shop_port,
            poll=self.poll,
            works=self.works_port,
            heartbeat=self.heartbeat,
            away=self.away,
            partitions=PARTITIONS,
        )
        self.file.write_text(text)

    @property
    def file(self) -> Path:
        return self.folder / "integration.yaml"

    @property
    def blobs(self) -> Path:
        return self.folder / "blobs"

    def topic(self, flow: str, part: str = "events") -> str:
        return f"{self.name}.{flow}.{part}"

    def decoder(self) -> Decoder:
        integration = load_integration(self.file, {})
        return Decoder.of_events(catalog_for(integration), self.name, ["OrderPlaced", "OrderDone"])

    async def records(self, flow: str = "orders") -> list[Any]:
        """Every record of the flow's events; of one partition in its order."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            partitions = [TopicPartition(self.topic(flow), number) for number in range(PARTITIONS)]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            found: list[Any] = []
            while any([await consumer.position(one) < ends[one] for one in partitions]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += batch
            return found
        finally:
            await consumer.stop()

    async def events(self, flow: str = "orders") -> dict[str, dict[str, Any]]:
        """Decoded events by message id."""
        decoder = self.decoder()
        found = [decoder.decode(record.value)[1] for record in await self.records(flow)]
        return {event["header"]["messageId"]: event for event in found}


class Replica:
    """One ``linkspan ingress`` process."""

    def __init__(self, site: Site, **environment: str) -> None:
        self.port = choose()
        self.url = f"http://127.0.0.1:{self.port}"
        self.control = ""
        self.log = site.folder / f"ingress-{self.port}.log"
        command = [sys.executable, "-c", "from linkspan.cli.main import main; main()", "ingress"]
        self.process = subprocess.Popen(
            [*command, str(site.file), "--port", str(self.port), "--control-port", "0"],
            env={
                **os.environ,
                "MESSAGE_QUEUE_URL": f"kafka://{site.bootstrap}",
                "LINKSPAN_BLOBS": str(site.blobs),
                "LINKSPAN_DATA": str(site.folder / "data"),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=self.log.open("wb"),
            text=True,
        )

    async def ready(self) -> Self:
        """Waits for the line that says so."""
        assert self.process.stdout
        line = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), 120)
        assert line == f"ready {self.url}\n", self.log.read_text()
        self.control = (await asyncio.to_thread(self.process.stdout.readline)).split()[1]
        return self

    async def terminated(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


@asynccontextmanager
async def replica(site: Site, **environment: str) -> AsyncIterator[Replica]:
    started = Replica(site, **environment)
    try:
        yield await started.ready()
    finally:
        started.kill()


def order(order_id: str | None = None, count: int = 1, **payload: Any) -> dict[str, Any]:
    """A message with all a sender may say in its header."""
    return {
        "header": {
            "messageId": str(uuid.uuid4()),
            "timestamp": "2026-01-31T08:00:00Z",
            "source": "shop",
            "destination": "works",
            "messageType": "event",
            "type": "OrderPlaced",
            "version": "1.0",
        },
        "payload": {"orderId": order_id or str(uuid.uuid4()), "count": count, **payload},
        "metadata": {"correlationId": str(uuid.uuid4()), "priority": "normal", "retryCount": 0},
    }


def done(order_id: str | None = None, result: str = "made") -> dict[str, Any]:
    payload = {"orderId": order_id or str(uuid.uuid4()), "result": result}
    return {"header": {"messageId": str(uuid.uuid4()), "type": "OrderDone"}, "payload": payload}


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def message_id(message: dict[str, Any]) -> str:
    return str(message["header"]["messageId"])
