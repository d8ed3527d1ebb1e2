"""A flow with a backlog is copied into topics with twice as many partitions: nothing is lost, nothing is delivered
again, and each key keeps its order."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.integration.egress.bridge import FLOW, Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until
from tests.integration.egress.test_egress_redrive import arrived, refusing, taken
from tests.integration.repartition.grown import GROWN, audited, copied, grown, killed_after, log, repartition

from linkspan.kernel.topics import Headers, partition_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

KEYS = [order_id(number) for number in range(1, 25)]
REFUSED, DISCARDED = KEYS[0], KEYS[1]
DELIVERED, WAITING, LATER = 6, 4, 3


async def lived(made: Bridge, rest: RestDestination, waiting: int = WAITING) -> str:
    """Deliveries, a letter that was redriven and one that was discarded, and a backlog; the id of what was delivered
    first."""
    refused = refusing(rest, (REFUSED, 2), (DISCARDED, 3))
    async with made.serving():
        ids = await made.append(*((key, line) for line in range(DELIVERED) for key in KEYS))
        await made.wait_outcomes(len(KEYS) * DELIVERED)
        await made.command("discard", *await made.letter(DISCARDED))
        refused.clear()
        await made.command("redrive", *await made.letter(REFUSED))
        await made.wait_outcomes(2, kinds=("opened",))
        await asyncio.sleep(2.5)  # a checkpoint
    await made.append(*((key, line) for line in range(DELIVERED, DELIVERED + waiting) for key in KEYS))
    return ids[-1]


def expected(key: str, lines: int) -> list[int]:
    return [line for line in range(lines) if (key, line) != (DISCARDED, 3)]


async def goes_on(wide: Bridge, rest: RestDestination, before: int, waiting: int = WAITING) -> None:
    """Egress and senders with the new file: all that waited and all that comes, once and in order."""
    total = DELIVERED + waiting + LATER
    async with wide.serving():
        await wide.append(*((key, line) for line in range(total - LATER, total) for key in KEYS))
        wanted = before + len(KEYS) * (waiting + LATER)
        await until(lambda: len(rest.got) >= wanted <= len(taken(rest)), 240)
        await asyncio.sleep(1)
    for key in KEYS:
        assert arrived(rest, key) == expected(key, total), key
        sequences = [got.sequence for got in taken(rest) if got.order[0] == key]
        assert sequences == sorted(set(sequences)), "or the destination takes a newer one for an older"
    assert len({got.id for got in taken(rest)}) == len(taken(rest))


async def test_a_backlog_goes_on_in_order_and_once_with_twice_the_partitions(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    old = await bridge(rest_system(rest), partitions=3)
    first = await lived(old, rest)
    before = len(taken(rest))
    wide = grown(old, 6)
    looked = json.loads((await repartition(wide)).out)
    assert (looked["to_deliver"], looked["obstacles"]) == (len(KEYS) * WAITING, [])
    accounted = await audited(old, FLOW)
    untouched = await log(old, old.topics, 3), await log(old, old.topics, 3, "outcomes")
    await copied(wide)
    assert await audited(wide, GROWN) == accounted
    assert (await log(old, old.topics, 3), await log(old, old.topics, 3, "outcomes")) == untouched
    await goes_on(wide, rest, before)
    async with wide.serving():  # what was delivered before the copy is known by its id still
        await wide.append((KEYS[-1], DELIVERED - 1), message_id=first)
        await wide.wait_outcomes(1, kinds=("duplicate",))
    after = await audited(wide, GROWN)
    assert after["accepted"] == accounted["accepted"] + len(KEYS) * LATER + 1
    assert not after.keys() & {"in_flight", "unaccounted", "gone", "strays", "repeats"}, after


def made_of(record: Any) -> bytes:
    return dict(record.headers)[Headers.COPIED]


async def test_each_event_is_copied_with_its_bytes_its_time_and_its_headers_to_where_its_key_belongs(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    old = await bridge(rest_system(rest), partitions=3)
    await lived(old, rest)
    wide = grown(old, 6)
    await copied(wide)
    source = await log(old, old.topics, 3)
    for number, records in enumerate(await log(wide, wide.topics, 6)):
        assert records, "every partition has its share of so many keys"
        for record in records:
            assert partition_of(record.key, 6) == number
            *headers, (name, said) = record.headers
            was = next(one for one in source[int(said.split(b"/")[0])] if one.offset == int(said.split(b"/")[1]))
            assert name == Headers.COPIED
            assert (record.key, record.value, record.timestamp, tuple(headers)) == (
                *(was.key, was.value, was.timestamp),
                tuple(was.headers),
            )
    assert sum(map(len, source)) == sum(map(len, await log(wide, wide.topics, 6)))


async def test_killed_again_and_again_it_goes_on_and_nothing_is_copied_twice(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    old, many = await bridge(rest_system(rest), partitions=3), 500
    await lived(old, rest, many)
    before, whole = len(taken(rest)), len(KEYS) * (DELIVERED + many)
    wide = grown(old, 6)
    for records in (1, whole // 10):
        assert await killed_after(wide, records) == -9
        there = sum(map(len, await log(wide, wide.topics, 6)))
        assert records <= there < whole, "or it was not killed in the middle"
    await copied(wide)
    sources = [made_of(one) for part in await log(wide, wide.topics, 6) for one in part]
    assert len(sources) == len(set(sources)) == whole
    outcomes = [made_of(one) for part in await log(wide, wide.topics, 6, "outcomes") for one in part]
    assert len(outcomes) == len(set(outcomes))
    await goes_on(wide, rest, before, many)


async def test_it_may_be_copied_a_second_time(bridge: MakeBridge, rest: RestDestination) -> None:
    old = await bridge(rest_system(rest), partitions=3)
    await lived(old, rest)
    before = len(taken(rest))
    wide = grown(old, 6)
    await copied(wide)
    back = grown(wide, 2, name="orders-narrow", source=GROWN)
    await copied(back)
    await goes_on(back, rest, before)
