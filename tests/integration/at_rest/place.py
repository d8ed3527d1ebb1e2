"""A whole bridge with a confidential field: Kafka and all processes of their own, both systems in the test."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uuid_utils
from aiohttp import web
from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.broker import EmbeddedKafka
from linkspan.kernel.crypto.keyring_file import rotate
from linkspan.kernel.spec_file import load_integration
from linkspan.kernel.topic_admin import ensure_topics
from linkspan.kernel.topics import FlowTopics

PATIENCE = 150.0
PARTITIONS = 2
#: What may stand nowhere, and what must be found where it may.
MARKER, OPEN = "MARKED-c0nf1dential-TEXT", "an-open-text-of-the-order"
#: Lines that mean something: the store refuses the first and quotes the note, the transform fails of the second.
REFUSED, MISFIT = 422, 666
SPEC = """
integration: {name}
schemas: schemas
systems:
  shop:
    kind: rest
    url: {url}
    auth: {{api_key: s}}
    poll: {{path: /v1/changes, every: 500ms}}
  store: {{kind: rest, url: "{url}", auth: {{api_key: "{key}"}}}}
flows:
  orders:
    from: shop
    to: store
    type: Order
    key: payload.orderId
    when_kafka_is_away: spool
    on_dead_letter: continue
    partitions: 2
    transform:
      - jsonata: |
          {{"orderId": orderId, "line": line = 666 ? note : line, "open": open, "note": note, "file": file}}
    deliver: {{path: /v1/orders}}
"""
FIELDS: list[dict[str, Any]] = [
    {"name": "orderId", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "line", "type": "int"},
    {"name": "open", "type": "string", "default": ""},
    {"name": "note", "type": ["null", "string"], "default": None, "confidential": True},
    {"name": "file", "type": ["null", "bytes", "linkspan.BlobReference"], "default": None},
]


def new_id() -> str:
    return str(uuid_utils.uuid7())


@dataclass
class Systems:
    """Both of them, and whoever collects spans. ``taken``: bodies that the store took, by message id."""

    taken: dict[str, dict[str, Any]] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    spans: list[bytes] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    url: str = ""

    async def order(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.keys.add(request.headers.get("X-API-Key"))
        if body["payload"]["line"] == REFUSED:
            said = f"the note {body['payload']['note']!r} is not right"
            return web.json_response({"title": "No", "detail": said}, status=422)
        message_id = body["header"]["messageId"]
        self.repeated += [message_id] if message_id in self.taken else []
        self.taken[message_id] = body
        return web.Response(status=202)

    async def feed(self, request: web.Request) -> web.Response:
        after = int(request.query["after"])
        return web.json_response({"items": self.changes[after:], "next": len(self.changes)})

    async def trace(self, request: web.Request) -> web.Response:
        self.spans.append(await request.read())
        return web.Response()

    def add(self, **item: Any) -> None:
        self.changes.append({"change": len(self.changes) + 1} | item)


@dataclass
class Place:
    """``folder`` has everything that any process writes: Kafka's logs, data, blobs and log files."""

    folder: Path
    broker: EmbeddedKafka
    systems: Systems
    api_key: str = "k"
    name: str = field(default_factory=lambda: f"r{secrets.token_hex(4)}")

    def __post_init__(self) -> None:
        schemas = self.folder / "schemas" / self.name
        schemas.mkdir(parents=True)
        schema = {"type": "record", "namespace": f"{self.name}.payload", "name": "Order", "fields": FIELDS}
        (schemas / "Order.1.avsc").write_text(json.dumps(schema))
        if not self.keyring.exists():
            rotate(self.keyring)
        self.path.write_text(SPEC.format(name=self.name, url=self.systems.url, key=self.api_key))
        self.topics = FlowTopics.of(self.name, "orders")
        self.logs = self.folder / "logs"
        self.logs.mkdir(exist_ok=True)

    @property
    def path(self) -> Path:
        return self.folder / "integration.yaml"

    @property
    def keyring(self) -> Path:
        return self.folder / "keyring.yaml"

    @property
    def bootstrap(self) -> str:
        return self.broker.bootstrap

    @property
    def environ(self) -> dict[str, str]:
        """As every process of it has it."""
        return {
            "MESSAGE_QUEUE_URL": f"kafka://{self.bootstrap}",
            "LINKSPAN_DATA": str(self.folder / "data"),
            "LINKSPAN_KEYRING": str(self.keyring),
            "LINKSPAN_PLAIN_TEXT": "development",
            "LINKSPAN_SPOOL_GRACE_SECONDS": "0.5",
            "LOG_LEVEL": "debug",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.systems.url,
            "OTEL_TRACES_SAMPLER_ARG": "1",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }

    async def topics_made(self) -> None:
        integration = load_integration(self.path, self.environ)
        await ensure_topics(self.bootstrap, integration)

    @asynccontextmanager
    async def process(self, *command: str, **environ: str) -> AsyncIterator[Running]:
        running = Running(self, command, environ)
        try:
            await running.start()
            yield running
        finally:
            await running.stop()

    async def records(self, topic: str) -> list[Any]:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            await consumer.seek_to_beginning()
            found: list[Any] = []
            while any([await consumer.position(one) < ends[one] for one in partitions]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += batch
            return found
        finally:
            await consumer.stop()

    def files_with(self, text: str) -> list[str]:
        """Everywhere on this disk but in the test's own files."""
        while True:
            try:
                return self._scanned(text.encode())
            except FileNotFoundError:  # the broker renamed it meanwhile
                continue

    def _scanned(self, wanted: bytes) -> list[str]:
        own = {self.path, self.keyring}
        files = [path for path in self.folder.rglob("*") if path.is_file() and path not in own]
        files += [path for path in self.broker.data_dir.rglob("*") if path.is_file()]
        return sorted({str(path) for path in files if wanted in path.read_bytes()})


class Running:
    """A process, ready; ``url``: its HTTP address, ``control``: of its control API."""

    def __init__(self, place: Place, command: tuple[str, ...], environ: dict[str, str]) -> None:
        self._place, self._command, self._environ = place, command, environ
        self.url = self.control = ""

    async def start(self) -> None:
        place, name = self._place, self._command[0]
        has_control = ("--control-port", "0") if name in ("ingress", "egress") else ()
        self.log = place.logs / f"{name}-{secrets.token_hex(3)}.log"
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "linkspan", *self._command, str(place.path), "--port", "0", *has_control),
                env={**os.environ, **place.environ, **self._environ},
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout
        line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)
        assert line.startswith(b"ready http://"), self.log.read_text()[-3000:]
        self.url = line.decode().split()[1]
        if has_control:
            self.control = (await self.process.stdout.readline()).decode().split()[1]

    async def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        if self.process.returncode is None:
            self.process.send_signal(sign)
            await asyncio.wait_for(self.process.wait(), PATIENCE)


@asynccontextmanager
async def systems() -> AsyncIterator[Systems]:
    made = Systems()
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_post("/v1/orders", made.order)
    app.router.add_get("/v1/changes", made.feed)
    app.router.add_post("/v1/traces", made.trace)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


async def until(what: Callable[[], Any], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come about"
        await asyncio.sleep(0.1)


def order(line: int = 1, *, order_id: str | None = None, **payload: Any) -> dict[str, Any]:
    body = {"orderId": order_id or new_id(), "line": line, "open": OPEN} | payload
    return {"header": {"messageId": new_id(), "type": "Order"}, "payload": body}


def id_of(message: dict[str, Any]) -> str:
    return str(message["header"]["messageId"])
