"""A dead letter holds its key: its followers are parked in order, whole, and across restarts; other keys flow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.integration.egress.bridge import Bridge, EgressProcess, lines_by_key, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until

from linkspan.kernel.records.state import BARRIER

pytestmark = pytest.mark.kafka
BAD, GOOD = order_id(1), order_id(2)


async def parked(made: Bridge) -> list[Any]:
    """The records of all partitions, each in its order, but for barriers."""
    partitions = [TopicPartition(made.topics.parked, number) for number in range(made.partitions)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=made.bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found = []
        for partition, end in ends.items():
            consumer.seek(partition, 0)
            while await consumer.position(partition) < end:
                found += (await consumer.getmany(partition, timeout_ms=500)).get(partition, [])
        return [one for one in found if one.key != BARRIER]
    finally:
        await consumer.stop()


def kinds(outcomes: list[dict[str, Any]], key: str) -> list[str]:
    return [one["kind"] for one in outcomes if one["key"] == key]


async def test_followers_of_a_dead_letter_are_parked_whole_and_in_order_and_other_keys_flow(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    rest.reply = lambda got: 422 if got.order == (BAD, 2) else 201
    made = await bridge(rest_system(rest))
    orders = [(key, line) for line in range(6) for key in (BAD, GOOD)]
    ids = dict(zip(orders, await made.append(*orders), strict=True))
    async with made.serving():
        await made.wait_outcomes(len(orders))
        ids |= dict(zip([(BAD, 6)], await made.append((BAD, 6)), strict=True))
        outcomes = await made.wait_outcomes(len(orders) + 1)
    assert lines_by_key([got.order for got in rest.got]) == {BAD: [0, 1, 2], GOOD: list(range(6))}
    assert kinds(outcomes, BAD) == ["delivered"] * 2 + ["dead_lettered"] + ["held"] * 4
    copies = await parked(made)
    said = [dict(copy.headers) for copy in copies]
    assert [one["message-id"].decode() for one in said] == [ids[BAD, line] for line in range(2, 7)]
    assert said[0]["parked-reason"].startswith(b"422")
    assert (said[0]["parked-failure"], said[0]["parked-kind"], said[1]["parked-kind"]) == (
        b"rejected",
        b"dead_lettered",
        b"held",
    )
    offsets = [one["offset"] for one in outcomes if one["kind"] in ("dead_lettered", "held")]
    assert [int(copy.key) for copy in copies] == offsets
    assert all(copy.value.startswith(b"\xc3\x01") for copy in copies)


async def test_a_hold_survives_restart_and_kill_9(bridge: MakeBridge, rest: RestDestination) -> None:
    rest.reply = lambda got: 422 if got.order == (BAD, 0) else 201
    made = await bridge(rest_system(rest))
    await made.append((BAD, 0), (BAD, 1))
    process = EgressProcess(made, (), {"LINKSPAN_SESSION_SECONDS": "6"})
    await process.start()
    await made.wait_outcomes(2)
    await process.kill()
    await made.append((BAD, 2), (GOOD, 0))
    async with made.serving():
        await made.wait_outcomes(4)
        await asyncio.sleep(2.5)  # a checkpoint, so that the next start finds the hold in `state` alone
    await made.append((BAD, 3), (GOOD, 1))
    async with made.serving():
        outcomes = await made.wait_outcomes(6)
        await until(lambda: (GOOD, 1) in {got.order for got in rest.got})
    assert kinds(outcomes, BAD) == ["dead_lettered", "held", "held", "held"]
    assert {got.order for got in rest.got if got.order[0] == BAD} == {(BAD, 0)}
