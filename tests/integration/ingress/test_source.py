"""The WebSocket source: a frame is acknowledged when Kafka has it, and one replica holds the connection."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.ingress.site import Site, done, message_id, replica
from tests.integration.ingress.works import works
from tests.kafka_fixture import Kafka

from linkspan.broker import EmbeddedKafka

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
