"""The WebSocket source: a frame is acknowledged when Kafka has it, and one replica holds the connection."""

import asyncio
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.integration.ingress.site import DONE, ORDER, Site, base64_of, done, message_id, replica
from tests.integration.ingress.works import Works, works
from tests.kafka_fixture import Kafka

from linkspan.broker import EmbeddedKafka
from linkspan.ingress.accept import websocket
from linkspan.ingress.append.acceptance import Acceptance
from linkspan.ingress.errors import NotNow
from linkspan.kernel.blobs import CLAIM_CHECK_BYTES
from linkspan.kernel.spec import System
from linkspan.kernel.telemetry.traces import Tracing

pytestmark = pytest.mark.kafka


async def test_frames_are_acknowledged_refused_and_kept(kafka: Kafka, tmp_path: Path) -> None:
    """Also: after the other side restarts, and after it refused the key, the connection is made again."""
    site = Site(tmp_path / "site", kafka.bootstrap)
    async with works(site.works_port) as system, replica(site):
        await system.until(lambda: system.connections)
        messages = [done() for _ in range(300)]
        for number, message in enumerate(messages):
            await system.push(f"f{number}", message)
        for number in range(300):
            assert await system.answer(f"f{number}") == {"kind": "ack", "id": f"f{number}"}
        events = await site.events("reports")
        assert {message_id(message) for message in messages} == events.keys()
        assert events[message_id(messages[0])]["header"]["source"] == "works"

        wrong = done()
        del wrong["payload"]["result"]
        wrong["header"]["source"] = "shop"
        await system.push("wrong", wrong)
        nack = await system.answer("wrong")
        assert nack["kind"] == "nack"
        assert {fault["field"] for fault in nack["errors"]} == {"header.source", "payload.result"}
        await system.connections[0].send('{"kind": "event", "id": "no-body"}')
        assert (await system.answer("no-body"))["kind"] == "nack"
        await system.connections[0].send("[")
        await system.until(lambda: None in system.order)
        assert len(system.connections) == 1

        await system.stop()
        await system.start()
        await system.until(lambda: system.accepted == 2)
        await system.push("again", messages[0])
        assert (await system.answer("again"))["kind"] == "ack"
        assert len(await site.records("reports")) == 300


async def test_no_frame_is_acknowledged_without_kafka(own_broker: Callable[..., EmbeddedKafka], tmp_path: Path) -> None:
    broker = own_broker()
    site = Site(tmp_path / "site", broker.bootstrap)
    async with works(site.works_port) as system, replica(site, LINKSPAN_APPEND_SECONDS="3"):
        await system.until(lambda: system.connections)
        broker.kill()
        message = done()
        await system.push("late", message)
        await system.until(lambda: not system.connections)
        assert system.answers == {}
        broker.start()
        await system.until(lambda: system.connections, 60)
        await system.push("late", message)
        assert (await system.answer("late"))["kind"] == "ack"
        assert message_id(message) in await site.events("reports")


async def test_what_follows_an_unanswered_frame_is_not_taken_ahead_of_it(kafka: Kafka, tmp_path: Path) -> None:
    site = Site(tmp_path / "site", kafka.bootstrap)
    schema = site.folder / "schemas" / site.name / "OrderDone.1.avsc"
    schema.write_text(json.dumps(json.loads(schema.read_text()) | {"fields": [*DONE, ORDER[-1]]}))
    messages = [done(order_id := str(uuid.uuid4())), *(done(order_id) for _ in range(40))]
    messages[0]["payload"]["drawing"] = base64_of(bytes(CLAIM_CHECK_BYTES + 1))
    async with works(site.works_port) as system, replica(site):
        await system.until(lambda: system.connections)
        site.blobs.rmdir()
        for number, message in enumerate(messages):
            await system.push(f"f{number}", message)
        await system.until(lambda: system.accepted == 2)
        assert system.answers == {}
        assert await site.records("reports") == []

        site.blobs.mkdir()
        for number, message in enumerate(messages):
            await system.push(f"f{number}", message)
        for number in range(len(messages)):
            assert (await system.answer(f"f{number}"))["kind"] == "ack"
        ids = [dict(record.headers)["message-id"].decode() for record in await site.records("reports")]
        assert ids == [message_id(message) for message in messages]


class FailsMeanwhile:
    """A pipeline whose first append fails while it checks in the content of the second."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self._first: Acceptance | None = None

    async def take(
        self, raw: bytes, _origin: Any, _traceparent: str, announce: Callable[[str], None]
    ) -> tuple[Acceptance, bool]:
        if self._first:
            self._first.settle(NotNow("Kafka is away"), False)
            await asyncio.sleep(0)
        announce("an id")
        self.taken.append(raw)
        self._first = acceptance = Acceptance("reports", "an id", "an id", b"")
        return acceptance, False


@asynccontextmanager
async def held(system: Works, pipeline: Any) -> AsyncIterator[None]:
    """A source with a pipeline of the test's own."""
    spec: dict[str, Any] = {"kind": "websocket", "url": f"ws://127.0.0.1:{system.port}", "subprotocol": "works.v1"}
    spec |= {"source": "/v1/events", "auth": {"api_key": system.key}}
    (kafka := asyncio.Event()).set()
    source = websocket.Source(
        "works", System.model_validate(spec), pipeline, Tracing(None, 0.0), CLAIM_CHECK_BYTES, kafka
    )
    task = asyncio.create_task(source.run())
    try:
        await system.until(lambda: system.connections)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_frame_whose_predecessor_failed_while_it_was_prepared_is_not_taken(tmp_path: Path) -> None:
    pipeline = FailsMeanwhile()
    async with works(Site(tmp_path / "site", "").works_port) as system, held(system, pipeline):
        for number in range(3):
            await system.push(f"f{number}", number)
        await system.until(lambda: system.accepted == 2)
        assert pipeline.taken == [b"0"]
        assert system.answers == {}


async def test_a_source_that_breaks_says_so_and_connects_again(tmp_path: Path) -> None:
    async with works(Site(tmp_path / "site", "").works_port) as system:
        with capture_logs() as logs:
            async with held(system, None):
                await system.push("unexpected", done())
                await system.until(lambda: system.accepted == 2)
        assert [line["source"] for line in logs if line["event"] == "source broke" and line["exc_info"]] == ["works"]


@pytest.mark.thorough
async def test_one_replica_holds_the_connection_and_another_takes_over(kafka: Kafka, tmp_path: Path) -> None:
    site = Site(tmp_path / "site", kafka.bootstrap)
    short = {"LINKSPAN_SESSION_SECONDS": "6"}
    async with works(site.works_port) as system, replica(site, **short) as first:
        await system.until(lambda: system.connections)
        async with replica(site, **short) as second:
            await asyncio.sleep(4)
            await system.until(lambda: system.connections)
            assert len(system.connections) == 1
            holder, other = (first, second) if _holds(first.log) else (second, first)
            holder.kill()
            await system.until(lambda: not system.connections)
            await system.until(lambda: system.connections)
            await system.push("after", done())
            assert (await system.answer("after"))["kind"] == "ack"
            assert _holds(other.log)


def _holds(log: Path) -> bool:
    about = [line for line in log.read_text().splitlines() if "source connected" in line or "given back" in line]
    return bool(about) and "source connected" in about[-1]


async def test_a_peer_that_does_not_answer_pings_is_given_up(kafka: Kafka, tmp_path: Path) -> None:
    """The peer is a server whose reads are stopped, so that no pong comes back."""
    site = Site(tmp_path / "site", kafka.bootstrap, heartbeat="1s")
    async with works(site.works_port) as system, replica(site):
        await system.until(lambda: system.connections)
        deaf = system.connections[0]
        deaf.transport.pause_reading()
        await system.until(lambda: system.accepted == 2)
        deaf.transport.abort()
        await system.push("heard", done())
        assert (await system.answer("heard"))["kind"] == "ack"


async def test_a_refused_key_is_said_once(kafka: Kafka, tmp_path: Path) -> None:
    site = Site(tmp_path / "site", kafka.bootstrap)
    async with works(site.works_port) as system:
        system.key = "another-key"
        async with replica(site) as one:
            async with asyncio.timeout(20):
                while not system.refused:  # noqa: ASYNC110 - the server has no event for it
                    await asyncio.sleep(0.05)
            await asyncio.sleep(1)
            assert system.refused == 1
            assert one.log.read_text().count("check the system's api_key") == 1
            os.kill(one.process.pid, signal.SIGTERM)
