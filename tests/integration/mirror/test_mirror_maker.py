"""Kafka's own MirrorMaker copies a bridge at work to another Kafka, and the first one dies: what the mirror has is
delivered, once but for what says that it may be a repeat, or nothing of it is."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from tests.integration.egress.bridge import Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import Got, RestDestination, until, until_async
from tests.integration.egress.plans import read
from tests.integration.egress.test_audit import Done
from tests.integration.egress.test_egress_redrive import arrived, taken
from tests.integration.egress.test_restored import (
    CONFLICT,
    HELD,
    KEYS,
    LINES,
    OwnBroker,
    balanced,
    events,
    lived,
    marked,
    put_right,
    restored,
)
from tests.integration.mirror.mirror_maker import MirrorMaker

from linkspan.broker import EmbeddedKafka
from linkspan.kernel.topics import MAX_RECORD_BYTES, control_topic, egress_group

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(500)]
PARTITIONS = 2
#: Of a key of its own.
LARGE = order_id(99)
#: MirrorMaker looks less often than a test may wait.
OFTEN = {
    "refresh.topics.interval.seconds": "5",
    "old->new.emit.checkpoints.interval.seconds": "5",
    "old->new.sync.group.offsets.interval.seconds": "5",
}


@asynccontextmanager
async def under_load(made: Bridge) -> AsyncIterator[list[str]]:
    """Ids of what Kafka acknowledged; goes on until the block ends, or Kafka."""
    sent: list[str] = []

    async def send() -> None:
        for line in itertools.count(LINES):
            sent.extend(await made.append(*((key, line) for key in KEYS)))
            await asyncio.sleep(0.1)

    sending = asyncio.create_task(send())
    try:
        yield sent
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError, KafkaError):
            await sending


async def logs(made: Bridge) -> dict[tuple[str, int], list[Any]]:
    """Records of the logs whose offsets are named by others."""
    wanted = [(made.topics.events, PARTITIONS), (made.topics.outcomes, PARTITIONS)]
    wanted.append((control_topic(made.integration.integration), 1))
    return {
        (topic, number): [(one.offset, one.timestamp, one.key, one.value, one.headers) for one in records]
        for topic, partitions in wanted
        for number, records in (await read(made, topic, partitions)).items()
    }


async def has(made: Bridge, wanted: dict[tuple[str, int], list[Any]], mirror: MirrorMaker) -> bool:
    mirror.check()
    if not {log for log, _ in wanted} <= await topics(made):
        return False
    found = await logs(made)
    return all(len(found[log]) >= len(records) for log, records in wanted.items())


async def topics(made: Bridge) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    try:
        return {*await admin.list_topics()}
    finally:
        await admin.close()


async def command(made: Bridge, *arguments: str) -> Done:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "linkspan", *arguments),
        env=os.environ | {"MESSAGE_QUEUE_URL": f"kafka://{made.bootstrap}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Done(process.returncode or 0, out.decode(), err.decode())


async def committed(made: Bridge) -> dict[TopicPartition, int]:
    """Of the group that delivers."""
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    try:
        said = await admin.list_consumer_group_offsets(egress_group(made.integration.integration, made.topics.flow))
        return {tp: one.offset for tp, one in said.items()}
    finally:
        await admin.close()


def first_lines(got: list[Got]) -> dict[str, list[int]]:
    """By key, in the order in which each message came first."""
    first: dict[str, Got] = {}
    for one in got:
        first.setdefault(one.id, one)
    found: dict[str, list[int]] = defaultdict(list)
    for one in first.values():
        found[one.order[0]].append(one.order[1])
    return found


@dataclass
class Pair:
    """A bridge with a history on the Kafka ``first``, and the same one as ``mirror`` copies it to another."""

    first: EmbeddedKafka
    old: Bridge
    made: Bridge
    mirror: MirrorMaker
    refused: set[tuple[str, int]]


@pytest.fixture
async def pair(
    bridge: MakeBridge, rest: RestDestination, own_broker: OwnBroker, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Pair]:
    """``request.param``: properties of MirrorMaker other than the page's."""
    first, second = await asyncio.gather(*(asyncio.to_thread(own_broker, tmp_path / name) for name in ("old", "new")))
    old = await bridge(rest_system(rest), first.bootstrap, partitions=PARTITIONS)
    refused = await lived(old, rest)
    await old.append((LARGE, 0), text="x" * (MAX_RECORD_BYTES - 500))
    made = Bridge(old.path, second.bootstrap)
    name, changes = made.integration.integration, OFTEN | request.param
    mirror = MirrorMaker(tmp_path, old.bootstrap, made.bootstrap, name, changes)
    mirror.start()
    yield Pair(first, old, made, mirror, refused)
    await asyncio.to_thread(mirror.stop)


@pytest.mark.parametrize("pair", [{}], indirect=True)
async def test_what_the_mirror_has_is_delivered_in_order_and_what_comes_again_says_so(
    pair: Pair, rest: RestDestination
) -> None:
    old, made, mirror = pair.old, pair.made, pair.mirror
    async with old.egress() as process, under_load(old) as sent:
        then = await logs(old)
        await until_async(lambda: has(made, then, mirror), 120)
        found = await logs(made)
        for log, records in then.items():
            assert found[log][: len(records)] == records, "each stands where it stood"
        assert not await moved(made), "as the page says: looked at while it runs"
        await until_async(lambda: synced(made), 60)
        mirror.check()
        rest.hold, before = 4.0, len(sent)  # so the mirror has events without an outcome
        await until(lambda: len(sent) > before + 50)
        mirror.freeze()
        rest.hold, before = 0.0, len(sent)
        await until(lambda: len(sent) > before + 100)
        await asyncio.to_thread(pair.first.kill)
        await process.stop(90)
    mirror.stop()
    assert (done := await command(made, "topics", str(made.path))).code == 0, done

    async with made.egress(LINKSPAN_SESSION_SECONDS="6") as process:
        had = len(taken(rest))
        await until(lambda: len(process.lines("partition not delivered")) >= PARTITIONS, 60)
    assert len(taken(rest)) == had, "it is another Kafka: nothing goes out until somebody looked"
    partitions = await put_right(made)
    there = {one.message_id for one in await events(made)}
    assert len({*sent} - there) > 50, "the mirror was behind"
    async with made.serving():
        new = await made.append(*((key, line) for line in (100_000, 100_001) for key in KEYS))
        everything = await events(made)
        held = {one.message_id for one in everything if one.key == HELD.encode()}
        letters = {one["messageId"] for one in await made.outcomes() if one["failure"] == "conflict"}
        free = {one.message_id for one in everything} - held - letters
        await until(lambda: free <= {got.id for got in taken(rest)}, 90)
        assert arrived(rest, HELD) == [0, 1, 2], "it is still held"
        pair.refused.clear()
        await made.command("redrive", *await made.letter(HELD))
        await until(lambda: held <= {got.id for got in taken(rest)}, 90)
        await until_async(lambda: balanced(made))
    assert {*new} <= {got.id for got in taken(rest)}
    assert marked(taken(rest))
    for key, lines in first_lines(taken(rest)).items():
        assert (right := [one for one in lines if one != CONFLICT]) == sorted(right), key
    assert sum(one["to_deliver"] for one in partitions) > 0


async def moved(made: Bridge) -> list[int]:
    """By how many offsets the events of partitions stand elsewhere, where they do. Changes nothing."""
    partitions = json.loads((await restored(made)).out)["partitions"]
    return [one["moved"] for one in partitions if one["moved"]]


async def synced(made: Bridge) -> bool:
    """MirrorMaker told the mirror how far the group was."""
    return sum(offset > 0 for offset in (await committed(made)).values()) == PARTITIONS


#: MirrorMaker keeps where it is less often than a test takes: started anew, it begins at the beginning.
FORGETFUL = {"new.offset.flush.interval.ms": "3600000"}


async def repeated(made: Bridge, then: dict[tuple[str, int], list[Any]], mirror: MirrorMaker) -> bool:
    mirror.check()
    found = await logs(made)
    return all(len(found[log]) >= 2 * len(records) for log, records in then.items())


@pytest.mark.parametrize("pair", [FORGETFUL], indirect=True)
async def test_a_mirror_that_wrote_twice_is_told_while_it_runs_is_not_delivered_and_is_made_again(
    pair: Pair, rest: RestDestination
) -> None:
    old, made, mirror = pair.old, pair.made, pair.mirror
    async with old.egress() as process, under_load(old):
        then = await logs(old)
        await until_async(lambda: has(made, then, mirror), 120)
        mirror.kill()
        mirror.start()
        await until_async(lambda: shifted(made, mirror), 150)
        said = (await command(made, "restored", str(made.path))).out
        assert "offsets from where outcomes name them; copy the topic again" in said
        done = await restored(made, "--write", "--yes", "--reason", "let us see")
        assert (done.code, "copy the topic again" in done.err) == (2, True)
        mirror.stop()
        ours = {one for one in await topics(made) if one.startswith(made.integration.integration)}
        await delete(made, {*ours, "mm2-offsets.old.internal"})
        then = await logs(old)
        mirror.start()
        await until_async(lambda: has(made, then, mirror), 150)
        assert not await moved(made)
        found = await logs(made)
        for log, records in then.items():
            assert found[log][: len(records)] == records, "each stands where it stood"
        await process.stop()


async def shifted(made: Bridge, mirror: MirrorMaker) -> bool:
    mirror.check()
    there = {made.topics.events, made.topics.outcomes, made.topics.parked, made.topics.state}
    return there <= await topics(made) and bool(await moved(made))


async def delete(made: Bridge, names: set[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([*names])
    finally:
        await admin.close()
    await until_async(lambda: gone(made, names))


async def gone(made: Bridge, names: set[str]) -> bool:
    return not names & await topics(made)


@pytest.mark.parametrize("pair", [{"new.exactly.once.source.support": "enabled"}], indirect=True)
async def test_the_markers_of_exactly_once_support_move_records_and_that_is_told(pair: Pair) -> None:
    async with pair.old.egress() as process, under_load(pair.old):
        await until_async(lambda: shifted(pair.made, pair.mirror), 200)
        await process.stop()


@pytest.mark.parametrize("pair", [FORGETFUL], indirect=True)
async def test_what_was_written_twice_last_is_not_delivered_twice(pair: Pair, rest: RestDestination) -> None:
    old, made, mirror = pair.old, pair.made, pair.mirror
    then = await logs(old)
    await until_async(lambda: has(made, then, mirror), 120)
    mirror.kill()
    mirror.start()
    await until_async(lambda: repeated(made, then, mirror), 150)
    mirror.stop()
    assert (done := await command(made, "topics", str(made.path))).code == 0, done
    before = {got.id for got in taken(rest)}
    await put_right(made)
    async with made.serving():
        everything = {one.message_id for one in await events(made) if one.key != HELD.encode()}
        letters = {one["messageId"] for one in await made.outcomes() if one["failure"] == "conflict"}
        await until(lambda: everything - letters <= {got.id for got in taken(rest)}, 90)
        await until_async(lambda: balanced(made))
    assert marked(taken(rest))
    again = [got.id for got in taken(rest)]
    assert not [one for one in before if again.count(one) > 1], "the mirror had the outcome of each"
