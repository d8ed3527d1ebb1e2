"""The previous version takes over what a newer one wrote, and loses nothing of it."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from tests.event_encoder import EventEncoder
from tests.integration.cli.operator import Operator
from tests.integration.egress.bridge import FLOW, Bridge, in_order, lines_by_key, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import Got, RestDestination, until
from tests.integration.egress.traffic import traffic
from tests.integration.upgrade.newer import NewerEgress, newer_schemas

from linkspan.kernel.codec import OutcomeCodec, RecordCodec
from linkspan.kernel.commands import REDRIVE, Command, CommandCodec
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.published import PublishedSchemas
from linkspan.kernel.message import now_micros
from linkspan.kernel.records.position import Position
from linkspan.kernel.records.state import POSITION, StateCodec
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.topics import Headers, control_topic

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(480)]
#: Its messages are refused, until a test says otherwise.
BAD = order_id(1)


class Newer:
    """What the newer version does in a bridge; ``catalog`` is its own."""

    def __init__(self, made: Bridge, folder: Path) -> None:
        self.made, self.schemas = made, newer_schemas(folder)
        roots = [self.schemas, made.integration.schemas]
        self.catalog = SchemaCatalog(*(root for root in roots if root))
        made.outcomes_codec = OutcomeCodec(self.catalog)

    async def publish(self) -> None:
        """As its ingress does before its first event."""
        clients = KafkaClients(self.made.bootstrap)
        await PublishedSchemas(clients, self.made.integration.integration, self.catalog, ["Order"]).ready()

    def writes_events(self) -> None:
        self.made.encoder = EventEncoder(self.catalog, self.made.integration.integration, "Order")

    @asynccontextmanager
    async def egress(self) -> AsyncIterator[NewerEgress]:
        process = NewerEgress(self.made, self.schemas)
        try:
            await process.start()
            yield process
        finally:
            await process.kill()

    async def command(self, value: bytes, key: str = FLOW, **headers: str) -> None:
        said = [(name, text.encode()) for name, text in headers.items()]
        topic = control_topic(self.made.integration.integration)
        async with AIOKafkaProducer(bootstrap_servers=self.made.bootstrap, acks="all") as producer:
            await producer.send_and_wait(topic, value, key.encode(), 0, headers=said)

    def kind(self, kind: str) -> bytes:
        """A command of a kind that only the newer version has."""
        said = {
            "id": "01980000-0000-7000-8000-000000000001",
            "kind": kind,
            "flow": FLOW,
            "by": "newer",
            "reason": "why",
        }
        return RecordCodec(self.catalog, "Command").encode(said | {"at": now_micros()})


def repeats(got: list[Got]) -> list[Got]:
    seen: set[str] = set()
    found = []
    for one in got:
        if one.id in seen:
            found.append(one)
        seen.add(one.id)
    return found


async def audit(made: Bridge) -> dict[str, Any]:
    done = await Operator(made, "")("audit", str(made.path), "--output", "json")
    assert not done.err, done
    found: dict[str, Any] = json.loads(done.out)
    return found


async def test_the_previous_version_takes_over_under_load_and_loses_nothing(
    bridge: MakeBridge, rest: RestDestination, tmp_path: Path
) -> None:
    bad = {BAD}
    rest.reply = lambda got: 422 if got.order[0] in bad else 201
    made = await bridge(rest_system(rest), partitions=3)
    newer = Newer(made, tmp_path)
    await newer.publish()
    newer.writes_events()
    async with newer.egress() as new, traffic(made, every=0.05) as load:
        await made.append(*((BAD, number) for number in range(5)))
        await until(lambda: len(rest.got) > 80, 120)
        await made.wait_outcomes(1, kinds=("dead_lettered",))
        async with made.egress() as old:
            await until(lambda: len(rest.got) > 160, 120)
            await new.kill()
            await until(lambda: len(old.lines("partition taken over")) >= 3, 120)
            await until(lambda: len(rest.got) > 240, 120)
            bad.clear()
            partition, offset = await made.letter(BAD)
            given = Command(REDRIVE, FLOW, partition, offset, "newer", "to see")
            await newer.command(CommandCodec(newer.catalog).encode(given))
            await load.end()
            await made.wait_outcomes(len(load.sent) + 5, 180, kinds=("delivered",))
            assert old.lines("partition not delivered") == []
    by_key = lines_by_key([one.order for one in rest.got])
    counted: dict[str, set[int]] = defaultdict(set)
    for key, line in load.sent:
        counted[key].add(line)
    counted[BAD] = set(range(5))
    assert {key: set(lines) for key, lines in by_key.items()} == dict(counted)
    assert all(in_order(lines) for key, lines in by_key.items())
    assert [one.order for one in repeats(rest.got) if not one.redelivery and one.order[0] != BAD] == []
    said = await audit(made)
    assert said["balanced"], said
    assert said["flows"][FLOW]["delivered"] == len(load.sent) + 5


async def test_commands_of_a_newer_version_do_what_they_say_to_one_that_does_not_know_them(
    bridge: MakeBridge, rest: RestDestination, tmp_path: Path
) -> None:
    made = await bridge(rest_system(rest), partitions=1)
    newer = Newer(made, tmp_path)
    await newer.publish()
    async with made.egress() as old:
        await newer.command(newer.kind("paint"))
        await made.append((order_id(2), 0))
        await until(lambda: len(rest.got) == 1, 120)
        await newer.command(newer.kind("freeze"), otherwise=f"pause flow {FLOW}")
        operator = Operator(made, old.control)
        paused = await operator.told("status", until="freeze")
        assert paused.code == 0
        await made.append((order_id(2), 1))
        await asyncio.sleep(1)
        assert len(rest.got) == 1
        trail = await operator("audit-trail")
        assert "paint is not known to this version" in trail.out
        await newer.command(newer.kind("thaw"), otherwise=f"resume flow {FLOW}")
        await until(lambda: len(rest.got) == 2, 120)
        unreadable = b"\xc3\x01" + b"\x09" * 8 + b"what nobody can read"
        await newer.command(unreadable, otherwise=f"pause flow {FLOW}")
        await operator.told("status", until="cannot be read")
        await made.append((order_id(2), 2))
        assert (await operator("resume", FLOW, "--reason", "looked at it")).code == 0
        await until(lambda: len(rest.got) == 3, 120)
    assert lines_by_key([one.order for one in rest.got]) == {order_id(2): [0, 1, 2]}


async def test_state_that_nobody_can_read_stops_its_partition_alone_and_goes_on_once_it_is_published(
    bridge: MakeBridge, rest: RestDestination, tmp_path: Path
) -> None:
    made = await bridge(rest_system(rest), partitions=2)
    newer = Newer(made, tmp_path)
    async with AIOKafkaProducer(bootstrap_servers=made.bootstrap) as producer:
        value = StateCodec(newer.catalog).encode(Position(events=0))
        await producer.send_and_wait(made.topics.state, value, POSITION, 0)
    sent = await made.append(*((order_id(number), 0) for number in range(12)))
    async with made.egress() as old:
        await until(lambda: bool(old.lines("partition not delivered")), 120)
        reason = old.lines("partition not delivered")[0]["reason"]
        assert reason.startswith("its state was written by another version of Linkspan (no released schema has")
        await until(lambda: len(rest.got) > 0, 120)
        assert {one["partition"] for one in await made.wait_outcomes(1)} == {1}
        await newer.publish()
        await until(lambda: len(rest.got) == len(sent), 120)
    assert (await audit(made))["balanced"]


async def test_an_event_of_a_newer_version_is_delivered_and_one_that_nobody_published_is_a_dead_letter(
    bridge: MakeBridge, rest: RestDestination, tmp_path: Path
) -> None:
    made = await bridge(rest_system(rest), partitions=1)
    newer = Newer(made, tmp_path)
    async with made.egress():
        await made.append((order_id(1), 0))
        await until(lambda: len(rest.got) == 1, 120)
        newer.writes_events()
        value, headers = made.event(order_id(2), 0)
        await made.append_raw(value, order_id(2), **{Headers.MESSAGE_ID: headers[0][1]})
        found = await made.wait_outcomes(1, 120, kinds=("dead_lettered",))
        (dead,) = [one for one in found if one["kind"] == "dead_lettered"]
        assert dead["reason"].startswith("no released schema has the fingerprint")
        await newer.publish()
        await asyncio.sleep(5.5)
        await made.append((order_id(3), 0))
        await until(lambda: len(rest.got) == 2, 120)
