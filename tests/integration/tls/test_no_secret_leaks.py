"""Marked secrets go through everything while everything fails, and are found nowhere that anybody reads."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import quote_plus

import aiohttp
import psutil
import pytest
import yaml
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.integration.tls.echo import TOKEN, EchoShop, EchoWorks
from tests.integration.tls.peers import GOOD, context_of
from tests.integration.tls.secured import MARKED, Secured
from tests.kafka_fixture import require_embedded

from linkspan.kernel.config import Settings, read_settings
from linkspan.kernel.spec_file import catalog_for, load_integration

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

PARTS = ("events", "outcomes", "parked", "state")
#: Sent by callers, or given wrongly.
MARKED_ELSEWHERE = {
    "of a caller's token": "marked-header.marked-payload.marked-signature",
    "of a caller's key": "marked-key-of-a-caller",
    "of the database": "marked-database-password",
    "of an address": "marked-basic-password",
    "of Kafka, wrong": "marked-wrong-sasl-password",
}
SCHEMAS = {
    "OrderPlaced": [{"name": "orderId", "type": "string"}, {"name": "count", "type": "int"}],
    "OrderDone": [{"name": "orderId", "type": "string"}, {"name": "result", "type": "string"}],
}


def write_integration(folder: Path, shop: int, works: int) -> Path:
    (folder / "schemas" / "leaks").mkdir(parents=True)
    for name, fields in SCHEMAS.items():
        schema = {"type": "record", "namespace": "leaks.payload", "name": name, "fields": fields}
        (folder / "schemas" / "leaks" / f"{name}.1.avsc").write_text(json.dumps(schema))
    retry = {"attempts": 4, "first": "100ms", "cap": "300ms"}
    grant = {"token_url": "/oauth/token", "client_id": "us", "client_secret": "${SYSTEM_A_CLIENT_SECRET}"}
    flow = {"key": "payload.orderId", "partitions": 1, "on_dead_letter": "continue", "when_kafka_is_away": "spool"}
    spec = {
        "integration": "leaks",
        "schemas": "schemas",
        "systems": {
            "shop": {"kind": "rest", "url": f"https://127.0.0.1:{shop}", "retry": retry, "auth": {"oauth2": grant}},
            "works": {
                "kind": "websocket",
                "url": f"wss://127.0.0.1:{works}",
                "retry": retry,
                "auth": {"api_key": "${SYSTEM_B_API_KEY}"},
            },
        },
        "flows": {
            "orders": {"from": "shop", "to": "works", "type": "OrderPlaced", **flow},
            "reports": {"from": "works", "to": "shop", "type": "OrderDone", **flow},
        },
    }
    path = folder / "integration.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


def message(flow: str) -> dict[str, object]:
    sender, kind, more = (
        ("shop", "OrderPlaced", {"count": 1}) if flow == "orders" else ("works", "OrderDone", {"result": "well"})
    )
    return {"header": {"source": sender, "type": kind}, "payload": {"orderId": str(uuid.uuid4()), **more}}


def forms(secret: str) -> set[bytes]:
    """How one may stand in a text: as it is, quoted, or in base64 by any of its three alignments."""
    encoded = {base64.b64encode(b"x" * n + secret.encode())[4:-4] for n in range(3)}
    return {secret.encode(), quote_plus(secret).encode(), json.dumps(secret)[1:-1].encode(), *encoded}


class Watched:
    """``said``: everything that anybody could read, by where."""

    def __init__(self, made: Secured, shop: EchoShop, works: EchoWorks, file: Path) -> None:
        self.made, self.shop, self.works, self.file = made, shop, works, file
        self.said: dict[str, bytes] = {}

    def keep(self, where: str, said: bytes | str) -> None:
        self.said[where] = self.said.get(where, b"") + (said if isinstance(said, bytes) else said.encode())

    async def run(self, code: int, *arguments: str, **environ: str) -> str:
        """Its output once it ends with ``code``: a machine under load may take longer than a command has patience."""
        for left in reversed(range(6)):
            done = await asyncio.to_thread(self.made.linkspan, *arguments, LOG_LEVEL="debug", **environ)
            self.keep(f"linkspan {arguments[0]}", done.stdout + done.stderr)
            if done.returncode == code:
                return done.stdout
            assert left, (done.args, done.stdout, done.stderr)
        raise AssertionError

    def command_lines(self) -> None:
        for process in (psutil.Process(one.pid) for one in self.made.running.values()):
            for one in (process, *process.children(recursive=True)):
                self.keep("ps", " ".join(one.cmdline()))

    def leaks(self) -> list[str]:
        secrets = [*MARKED.values(), *MARKED_ELSEWHERE.values(), TOKEN, *self.shop.seen]
        wanted = {form for secret in secrets for form in forms(secret.removeprefix("Bearer ").removeprefix("Basic "))}
        return [
            f"{where}: …{content[max(0, at - 200) : at + 80]!r}"
            for where, content in self.said.items()
            for form in wanted
            if form and (at := content.find(form)) >= 0
        ]


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    require_embedded()
    made = Secured(tmp_path)
    context = context_of(tmp_path, made.authority, GOOD)
    shop, works = await EchoShop().start(context), await EchoWorks().start(context)
    file = write_integration(tmp_path, shop.port, works.port)
    made.environ |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://127.0.0.1:{shop.port}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_TRACES_SAMPLER_ARG": "1",
    }
    for name in ("SYSTEM_A_ENDPOINT", "SYSTEM_B_ENDPOINT"):
        del made.environ[name]
    try:
        await asyncio.to_thread(made.kafka.start)
        yield Watched(made, shop, works, file)
    finally:
        await asyncio.to_thread(made.end)
        await shop.stop()
        await works.stop()


async def until(done: Callable[[], bool], what: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, what()
        await asyncio.sleep(0.2)


async def send(watched: Watched, flow: str, count: int, **headers: str) -> None:
    context = ssl.create_default_context(cafile=watched.made.authority.ca)
    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            url = watched.made.url("ingress") + "/v1/messages"
            async with session.post(url, json=message(flow), headers=headers, ssl=context) as answer:
                watched.keep("HTTP answers", await answer.read() + repr(answer.headers).encode())


async def look(watched: Watched, *names: str) -> None:
    context = ssl.create_default_context(cafile=watched.made.authority.ca)
    async with aiohttp.ClientSession() as session:
        for name in names:
            for path in ("/metrics", "/health"):
                async with session.get(watched.made.url(name) + path, ssl=context) as answer:
                    watched.keep(f"{path} of {name}", await answer.read())


def dead(watched: Watched) -> int:
    databases = list((watched.made.folder / "data").glob("ledger-*.db"))
    if not databases:
        return 0
    with sqlite3.connect(databases[0]) as database:
        try:
            return int(database.execute("SELECT count(*) FROM messages WHERE status LIKE 'dead%'").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


async def records(watched: Watched) -> int:
    """What the topics hold, as readers get it."""
    count = 0
    reader = AIOKafkaConsumer(bootstrap_servers=watched.made.kafka.bootstrap, auto_offset_reset="earliest")
    await reader.start()
    try:
        known = await reader._client.fetch_all_metadata()
        topics = [one for one in known.topics() if one.startswith("leaks.")]
        parts = [TopicPartition(one, number) for one in topics for number in known.partitions_for_topic(one)]
        reader.assign(parts)
        ends = await reader.end_offsets(parts)
        while any([await reader.position(part) < ends[part] for part in parts]):
            for batch in (await reader.getmany(timeout_ms=300)).values():
                for one in batch:
                    count += 1
                    watched.keep("records in Kafka", repr((one.key, one.headers)).encode() + (one.value or b""))
    finally:
        await reader.stop()
    return count


def files(watched: Watched) -> None:
    """Logs, topics on disk, ledger, spool; but not where the secrets themselves are kept."""
    made = watched.made
    kept = {made.folder / name for name in MARKED} | {made.kafka.data_dir / "server.properties"}
    for path in made.folder.rglob("*"):
        if path.is_file() and path not in kept and path.name != "format.log":
            watched.keep(f"file {path.relative_to(made.folder)}", path.read_bytes())


async def fail_at_commands(watched: Watched) -> None:
    port, file = watched.made.listeners["SASL_SSL"], str(watched.file)
    database = f"postgresql://us:{MARKED_ELSEWHERE['of the database']}@127.0.0.1:9/name"
    basic = MARKED_ELSEWHERE["of an address"]
    wrong = {"LINKSPAN_KAFKA_SASL_PASSWORD": MARKED_ELSEWHERE["of Kafka, wrong"]}
    at = {"LINKSPAN_CONTROL": f"127.0.0.1:{watched.made.control['egress']}"}
    stranger = at | {"LINKSPAN_TOKEN": MARKED_ELSEWHERE["of a caller's token"]}
    other = watched.file.with_name("basic.yaml")
    other.write_text(watched.file.read_text().replace("https://127", f"https://us:{basic}@127"))
    asked = [
        watched.run(3, "topics", file, **wrong),
        watched.run(2, "topics", file, MESSAGE_QUEUE_URL=f"kafka+ssl://us:{basic}@127.0.0.1:{port}"),
        watched.run(2, "check", str(other)),
        watched.run(2, "ledger", "digest", file, LINKSPAN_DATABASE_URL=database),
        watched.run(2, "ledger", "digest", file, LINKSPAN_DATABASE_URL=database.replace("postgresql", "mysql")),
        watched.run(4, "status", **stranger),
        watched.run(0, "check", file),
    ]
    for run in asked:
        await run
    other.unlink()


async def ask_operator(watched: Watched) -> None:
    made = watched.made
    token = (made.folder / "data" / "control" / "token").read_text().strip()
    operator = {"LINKSPAN_CONTROL": f"127.0.0.1:{made.control['ingress']}", "LINKSPAN_TOKEN": token}
    without_ledger = operator | {"LINKSPAN_CONTROL": f"127.0.0.1:{made.control['egress']}"}
    await watched.run(3, "messages", **without_ledger)
    for arguments in (["status", "-o", "json"], ["messages", "-o", "json"]):
        assert len(await watched.run(0, *arguments, **operator)) > 200


async def spooled(watched: Watched) -> None:
    for left in reversed(range(30)):
        await send(watched, "orders", 1)
        kept = (watched.made.folder / "data" / "spool").rglob("*")
        if any(one.is_file() and one.stat().st_size > 200 for one in kept):
            return
        assert left
        await asyncio.sleep(2)


async def test_no_marked_secret_is_anywhere(watched: Watched) -> None:
    made, file = watched.made, str(watched.file)
    await watched.run(0, "topics", file)
    database = {"LINKSPAN_DATABASE_URL": f"postgresql://us:{MARKED_ELSEWHERE['of the database']}@127.0.0.1:9/name"}
    for name, more in (("ingress", {}), ("egress", database), ("ledger", {})):
        made.start(name, FILE=file, LOG_LEVEL="debug", **more)
    await asyncio.to_thread(made.ready, "ingress", "egress", "ledger")
    await send(watched, "reports", 5)
    await send(watched, "orders", 3)
    strangers = {"Authorization": f"Bearer {MARKED_ELSEWHERE['of a caller' + chr(39) + 's token']}"}
    await send(watched, "orders", 1, **strangers)
    await send(watched, "orders", 1, **{"X-API-Key": MARKED_ELSEWHERE["of a caller's key"]})
    watched.command_lines()
    await until(
        lambda: dead(watched) >= 6,
        lambda: (watched.shop.seen, watched.works.seen, made.log("egress").read_text()[-3000:]),
    )
    await look(watched, "ingress", "egress", "ledger")
    await fail_at_commands(watched)
    await ask_operator(watched)
    assert await records(watched) > 20
    await asyncio.to_thread(made.kafka.kill)
    await spooled(watched)
    await look(watched, "ingress", "egress")
    files(watched)
    watched.keep("traces", watched.shop.spans)
    sent = " ".join(watched.shop.seen + watched.works.seen)
    assert TOKEN in sent, sent
    assert MARKED["SYSTEM_B_API_KEY"] in sent
    assert len(watched.said["traces"]) > 1_000
    assert any("spool" in where for where in watched.said), sorted(watched.said)
    assert any(b"[secret]" in said for where, said in watched.said.items() if where == "records in Kafka")
    assert watched.leaks() == []


def test_what_is_read_shows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_integration(tmp_path, 1, 2)
    monkeypatch.setenv("LINKSPAN_DATABASE_URL", "postgresql://us:marked-database-password@127.0.0.1/name")
    monkeypatch.setenv("LINKSPAN_KAFKA_SASL_USERNAME", "us")
    monkeypatch.setenv("LINKSPAN_KAFKA_SASL_PASSWORD", MARKED["LINKSPAN_KAFKA_SASL_PASSWORD"])
    settings: Settings = read_settings()
    integration = load_integration(file, MARKED)
    shown = repr((settings, settings.kafka_security, integration, catalog_for(integration), settings.model_dump()))
    shown += str(integration) + integration.model_dump_json() + settings.model_dump_json()
    assert "marked" not in shown
