"""Kafka is lost with all it had: what was archived comes back to its offsets, and delivery goes on."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition
from tests.integration.archive.kept import archive, archived, forget, listed
from tests.integration.egress.bridge import Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until, until_async
from tests.integration.egress.plans import read
from tests.integration.egress.test_egress_redrive import arrived, taken
from tests.integration.egress.test_restored import (
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

from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.gap import leave_out

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]


async def test_after_a_total_loss_all_that_was_archived_is_there_and_what_was_not_delivered_is(
    bridge: MakeBridge, rest: RestDestination, own_broker: OwnBroker
) -> None:
    first = await asyncio.to_thread(own_broker)
    old = await bridge(rest_system(rest), first.bootstrap, partitions=2)
    assert (await restored(old)).code == 0, "it has a coordinator now"
    refused = await lived(old, rest)
    await archived(old)
    there = {one.message_id for one in await events(old)}
    records = await read(old, old.topics.outcomes, 2)
    gone = set(await old.append(*((key, LINES) for key in KEYS)))
    await asyncio.to_thread(first.kill)

    made = Bridge(old.path, (await asyncio.to_thread(own_broker)).bootstrap)
    await made.create_topics()
    said = await archive(made, "restore", "--check", "-o", "json")
    assert (said.code, said.json["written"]) == (0, False)
    done = await archive(made, "restore", "--to", f"kafka://{made.bootstrap}", "--yes", MESSAGE_QUEUE_URL="kafka://h:9")
    assert done.code == 0, done
    assert "what came after" in done.out
    assert (await archive(made, "verify")).code == 0
    assert {one.message_id for one in await events(made)} == there
    again = await read(made, made.topics.outcomes, 2)
    assert [[(x.offset, x.timestamp, x.key, x.value) for x in again[n]] for n in range(2)] == [
        [(x.offset, x.timestamp, x.key, x.value) for x in records[n]] for n in range(2)
    ]

    partitions = await put_right(made)
    assert sum(len(one["lost"]) for one in partitions) == 0, "what an outcome names was archived before it"
    before = len(taken(rest))
    async with made.serving():
        await made.append(*((key, line) for line in range(LINES + 1, LINES + 3) for key in KEYS))
        everything = await events(made)
        held = {one.message_id for one in everything if one.key == HELD.encode()}
        letters = {one["messageId"] for one in await made.outcomes() if one["failure"] == "conflict"}
        free = {one.message_id for one in everything} - held - letters
        await until(lambda: free <= {got.id for got in taken(rest)}, 90)
        assert arrived(rest, HELD) == [0, 1, 2], "it is still held"
        refused.clear()
        await made.command("redrive", *await made.letter(HELD))
        await until(lambda: held <= {got.id for got in taken(rest)}, 90)
        await until_async(lambda: balanced(made))
    assert marked(taken(rest))
    assert gone.isdisjoint({got.id for got in taken(rest)}), "these came after the last segment"
    for key in KEYS:
        lines = [got.order[1] for got in taken(rest)[before:] if got.order[0] == key and got.id not in letters]
        assert lines == sorted(lines), key
    assert (await archive(made, "run", "--once")).code == 0, "the archive goes on in the new Kafka"
    assert (await archive(made, "verify")).code == 0


async def test_offsets_stay_where_the_archive_begins_late_and_where_some_hold_no_record(
    bridge: MakeBridge, rest: RestDestination, own_broker: OwnBroker
) -> None:
    first = await asyncio.to_thread(own_broker)
    old = await bridge(rest_system(rest), first.bootstrap, partitions=2)
    await old.append(*((order_id(number), number) for number in range(3000)))
    begins = await forget(old, old.topics.events)
    await old.append(*((order_id(number), number) for number in range(20)))
    tps = [TopicPartition(old.topics.events, number) for number in range(2)]
    await leave_out(KafkaClients(old.bootstrap), {tp: begins[tp.partition] + 30 for tp in tps}, "a test")
    await old.append(*((order_id(number), number) for number in range(20, 40)))
    await archived(old, "--records", "7")
    before = await read(old, old.topics.events, 2)
    await asyncio.to_thread(first.kill)

    made = Bridge(old.path, (await asyncio.to_thread(own_broker)).bootstrap)
    await made.create_topics()
    done = await archive(made, "restore", "--yes")
    assert done.code == 0, done
    after = await read(made, made.topics.events, 2)
    for number in range(2):
        assert [(x.offset, x.value) for x in after[number]] == [(x.offset, x.value) for x in before[number]]
    found = await listed(made)
    assert {number: found["events", number]["first"] for number in range(2)} == begins
    assert (await archive(made, "run", "--once")).code == 0


async def test_topics_that_are_not_empty_are_left_alone(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest), partitions=2)
    await made.append((order_id(1), 1))
    await archived(made)
    for arguments in (("--yes",), ("--check",)):
        done = await archive(made, "restore", *arguments)
        assert (done.code, "a restore needs empty topics" in done.err) == (2, True)
    assert (await archive(made, "restore")).code == 2, "nobody can be asked"
    assert len((await read(made, made.topics.events, 2))[0]) + len((await read(made, made.topics.events, 2))[1]) == 1
    done = await archive(made, "restore", "--to", "http://here", "--yes")
    assert (done.code, "--to: the scheme 'http'" in done.err) == (2, True)
