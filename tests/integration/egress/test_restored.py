"""Kafka is restored from a mirror that lost the newest records of each topic, another number of each: nothing that is
left is lost, and nothing is skipped."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.integration.egress.bridge import Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import Got, RestDestination, until, until_async
from tests.integration.egress.mirror import mirror
from tests.integration.egress.test_audit import Done, audit
from tests.integration.egress.test_egress_redrive import arrived, copies, refusing, taken

from linkspan.broker import EmbeddedKafka
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.event import Event
from linkspan.kernel.topics import all_topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]
OwnBroker = Callable[..., EmbeddedKafka]

HELD, RELEASED = order_id(1), order_id(2)
KEYS = [order_id(number) for number in range(1, 9)]
LINES = 12
#: The line of a message that has another's id.
CONFLICT = 1000
#: How many of the newest records of each partition of a topic the mirror has not.
CUTS: dict[str, dict[str, int]] = {
    "events": {"events": 15, "outcomes": 1},
    "outcomes": {"outcomes": 12, "state": 2},
    "parked": {"parked": 5, "events": 1},
    "all": {"events": 14, "outcomes": 8, "parked": 4, "state": 9},
}


async def restored(made: Bridge, *arguments: str) -> Done:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "linkspan", "restored", str(made.path), "-o", "json", *arguments),
        env=os.environ | {"MESSAGE_QUEUE_URL": f"kafka://{made.bootstrap}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Done(process.returncode or 0, out.decode(), err.decode())


async def put_right(made: Bridge) -> list[dict[str, Any]]:
    done = await restored(made, "--write", "--yes", "--skip", "20", "--reason", "restored from the mirror")
    assert done.code == 0, done.err
    partitions: list[dict[str, Any]] = json.loads(done.out)["partitions"]
    return partitions


async def lived(made: Bridge, rest: RestDestination) -> set[tuple[str, int]]:
    """Deliveries, holds, a release, a letter that holds nothing, and a backlog. What the destination refuses."""
    refused = refusing(rest, (HELD, 3), (RELEASED, 2))
    async with made.serving():
        for line in range(LINES - 4):
            (same,) = await made.append((KEYS[3], line))
            await made.append(*((key, line) for key in KEYS if key != KEYS[3]))
        await made.append((KEYS[3], CONFLICT), message_id=same)
        await made.wait_outcomes(len(KEYS) * (LINES - 4) + 1)
        refused.discard((RELEASED, 2))
        await made.command("redrive", *await made.letter(RELEASED))
        await made.wait_outcomes(1, kinds=("opened",))
        await made.append(*((key, line) for line in range(LINES - 4, LINES - 2) for key in KEYS))
        await made.wait_outcomes(len(KEYS) * (LINES - 2) + 1 + 8)
        await asyncio.sleep(2.5)  # a checkpoint
    await made.append(*((key, line) for line in range(LINES - 2, LINES) for key in KEYS))
    return refused


async def restore(made: Bridge, broker: EmbeddedKafka, cut: dict[str, int], *, create: bool = True) -> Bridge:
    again = Bridge(made.path, broker.bootstrap)
    if create:
        await again.create_topics()
    topics = {
        spec.name: spec.partitions for spec in all_topics(made.integration) if not spec.name.startswith("linkspan")
    }
    await mirror(made.bootstrap, broker.bootstrap, topics, cut)
    return again


async def events(made: Bridge) -> list[Event]:
    found: list[Event] = []
    reader = AIOKafkaConsumer(bootstrap_servers=made.bootstrap, auto_offset_reset="earliest")
    await reader.start()
    try:
        for number in range(made.partitions):
            tp = TopicPartition(made.topics.events, number)
            await read_all(reader, tp, 0, None, lambda record: found.append(Event.of(record)))
    finally:
        await reader.stop()
    return found


def marked(got: list[Got]) -> bool:
    """Whatever came again says so."""
    seen: set[str] = set()
    for one in got:
        if one.id in seen and not one.redelivery:
            return False
        seen.add(one.id)
    return True


@pytest.mark.parametrize("lost", CUTS)
async def test_put_right_nothing_that_is_left_is_lost_and_keys_keep_their_order_and_their_holds(
    bridge: MakeBridge, rest: RestDestination, own_broker: OwnBroker, lost: str
) -> None:
    old = await bridge(rest_system(rest), partitions=2)
    refused = await lived(old, rest)
    made = await restore(old, await asyncio.to_thread(own_broker), CUTS[lost])
    await put_right(made)
    before = len(taken(rest))
    async with made.serving():
        await made.append(*((key, line) for line in range(LINES, LINES + 2) for key in KEYS))
        all_of_it = await events(made)
        free = {one.message_id for one in all_of_it if one.key != HELD.encode()} - await conflicts(made, rest)
        await until(lambda: free <= {got.id for got in taken(rest)}, 60)
        assert arrived(rest, HELD) == [0, 1, 2], "it is still held"
        refused.clear()
        await made.command("redrive", *await made.letter(HELD))
        held = {one.message_id for one in all_of_it if one.key == HELD.encode()}
        await until(lambda: held <= {got.id for got in taken(rest)}, 60)
        await until_async(lambda: balanced(made))
    assert marked(taken(rest))
    for key in KEYS:
        lines = [got.order[1] for got in taken(rest)[before:] if got.order[0] == key and got.order[1] != CONFLICT]
        assert lines == sorted(lines), key
        sequences = [got.sequence for got in taken(rest)[before:] if got.order[0] == key]
        assert sequences == sorted(sequences), "or the destination takes the newer one for an older"


async def test_without_it_the_owner_says_so_and_skips_nothing_that_is_accepted_meanwhile(
    bridge: MakeBridge, rest: RestDestination, own_broker: OwnBroker
) -> None:
    old = await bridge(rest_system(rest), partitions=2)
    await lived(old, rest)
    made = await restore(old, await asyncio.to_thread(own_broker), CUTS["events"])
    before = len(rest.got)
    async with made.egress(LINKSPAN_SESSION_SECONDS="6") as process:
        early = await made.append(*((key, line) for line in range(50, 52) for key in KEYS[2:]))
        await until(lambda: len(process.lines("partition not delivered")) >= 2, 60)
        assert "linkspan restored" in process.lines("partition not delivered")[0]["reason"]
        async with aiohttp.ClientSession() as session:
            async with session.get(process.address + "/health") as answer:
                assert "not delivered: orders " in (await answer.json())["checks"]["messageQueue"]["error"]
            async with session.get(process.address + "/metrics") as answer:
                assert 'linkspan_partition_misfit{flow="orders"' in await answer.text()
        done = await restored(made, "--write", "--yes", "--reason", "too early")
        assert (done.code, "stop" in done.err) == (2, True), "while somebody delivers nothing is written"
    assert len(rest.got) == before
    assert (await restored(made)).code == 1
    partitions = await put_right(made)
    assert sum(len(one["lost"]) for one in partitions) > 0
    assert sum(one["offsets_taken"] for one in partitions) > 0
    async with made.serving():
        await until(lambda: {*early} <= {got.id for got in taken(rest)}, 60)
    assert (await restored(made)).code == 0


async def test_events_that_stand_elsewhere_are_refused_and_nothing_is_written(
    bridge: MakeBridge, rest: RestDestination, own_broker: OwnBroker
) -> None:
    old = await bridge(rest_system(rest), partitions=2)
    await lived(old, rest)
    broker = await asyncio.to_thread(own_broker)
    shifted = Bridge(old.path, broker.bootstrap)
    await shifted.create_topics()
    await shifted.append(*((key, 99) for key in KEYS))  # as a mirror does that writes something twice
    made = await restore(old, broker, {}, create=False)
    before = len(rest.got)
    async with made.serving() as service:
        await until(lambda: all(owner.misfit for owner in service.member.owners()), 60)
    done = await restored(made, "--write", "--yes", "--reason", "let us see")
    assert (done.code, "stand" in done.err) == (2, True)
    assert len(rest.got) == before


async def balanced(made: Bridge) -> bool:
    done = await audit(made)
    return done.code == 0 and "in_flight" not in done.orders


async def conflicts(made: Bridge, rest: RestDestination) -> set[str | None]:
    """Ids of the letter that holds nothing: it is in ``parked``, and nobody has got it."""
    assert not [got for got in rest.got if got.order[1] == CONFLICT]
    here = await copies(made)
    letters = [one for one in await made.outcomes() if one["failure"] == "conflict"]
    assert {one["offset"] for one in letters} <= here
    return {one["messageId"] for one in letters} - {got.id for got in rest.got}
