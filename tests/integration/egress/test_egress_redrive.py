"""A dead letter is redriven or discarded: its followers come in order, whatever arrives or dies meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from tests.integration.egress.bridge import Bridge, EgressProcess, in_order, lines_by_key, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import Got, RestDestination, until
from tests.integration.egress.test_audit import audit
from tests.integration.egress.test_egress_holds import kinds, parked

pytestmark = pytest.mark.kafka
BAD, GOOD = order_id(1), order_id(2)


def refusing(rest: RestDestination, *orders: tuple[str, int]) -> set[tuple[str, int]]:
    """The orders that are refused; take them out to mend the destination."""
    bad = set(orders)

    def reply(got: Got) -> int:
        if got.order in bad:
            return 422
        taken(rest).append(got)
        return 201

    rest.taken = []  # type: ignore[attr-defined]
    rest.reply = reply
    return bad


def taken(rest: RestDestination) -> list[Got]:
    found: list[Got] = rest.taken  # type: ignore[attr-defined]
    return found


def arrived(rest: RestDestination, key: str = BAD) -> list[int]:
    return lines_by_key([got.order for got in taken(rest)]).get(key, [])


async def copies(made: Bridge) -> set[int]:
    """Event offsets that ``parked`` holds, as it looks compacted."""
    found: dict[int, Any] = {}
    for record in await parked(made):
        found[int(record.key)] = record.value
    return {offset for offset, value in found.items() if value is not None}


async def test_redriven_it_comes_first_then_its_followers_then_what_arrived_meanwhile(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    bad = refusing(rest, (BAD, 1))
    made = await bridge(rest_system(rest))
    await made.append(*((BAD, line) for line in range(80)))
    async with made.serving():
        await made.wait_outcomes(80)
        assert arrived(rest) == [0]
        bad.clear()
        rest.hold = 0.02
        await made.command("redrive", *await made.letter(BAD))
        for line in range(80, 120, 5):
            await made.append(*((BAD, line + n) for n in range(5)))
            await asyncio.sleep(0.1)
        outcomes = await made.wait_outcomes(1, kinds=("opened",))
        await until(lambda: len(arrived(rest)) == 120)
        await made.append((BAD, 120))
        await until(lambda: len(arrived(rest)) == 121)
    assert arrived(rest) == list(range(121))
    assert kinds(outcomes, BAD).count("redriven") == 1
    assert await copies(made) == set()
    assert not any(got.redelivery for got in rest.got), "a refusal is an answer: nothing can have arrived before"


async def test_discarded_its_followers_come_without_it(bridge: MakeBridge, rest: RestDestination) -> None:
    refusing(rest, (BAD, 0))
    made = await bridge(rest_system(rest))
    await made.append(*((BAD, line) for line in range(5)))
    async with made.serving():
        await made.wait_outcomes(5)
        await made.command("discard", *await made.letter(BAD))
        outcomes = await made.wait_outcomes(1, kinds=("opened",))
    assert arrived(rest) == [1, 2, 3, 4]
    assert kinds(outcomes, BAD) == ["dead_lettered", *["held"] * 4, "discarded", *["delivered"] * 4, "opened"]
    assert await copies(made) == set()


async def test_a_letter_without_followers_is_discarded_and_its_key_is_free(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    refusing(rest, (BAD, 0))
    made = await bridge(rest_system(rest))
    await made.append((BAD, 0))
    async with made.serving():
        await made.wait_outcomes(1)
        await made.command("discard", *await made.letter(BAD))
        await made.wait_outcomes(1, kinds=("opened",))
        await made.append((BAD, 1))
        await until(lambda: arrived(rest) == [1])


async def test_refused_again_it_holds_again_and_the_rest_waits(bridge: MakeBridge, rest: RestDestination) -> None:
    bad = refusing(rest, (BAD, 1), (BAD, 3))
    made = await bridge(rest_system(rest))
    await made.append(*((BAD, line) for line in range(6)))
    async with made.serving():
        await made.wait_outcomes(6)
        for mended, through in (((BAD, 9), [0]), ((BAD, 1), [0, 1, 2]), ((BAD, 3), list(range(8)))):
            bad.discard(mended)
            letters = kinds(await made.outcomes(), BAD).count("dead_lettered")
            await made.command("redrive", *await made.letter(BAD))
            if through[-1] < 5:
                await made.wait_outcomes(letters + 1, kinds=("dead_lettered",))
                await made.append((BAD, 6 if through == [0] else 7))
                await asyncio.sleep(0.3)
                assert arrived(rest) == through
        await until(lambda: arrived(rest) == list(range(8)))
        await made.wait_outcomes(1, kinds=("opened",))


@pytest.mark.thorough
async def test_killed_while_they_come_back_nothing_is_lost_or_out_of_order(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    bad = refusing(rest, (BAD, 0))
    made = await bridge(rest_system(rest))
    await made.append(*((BAD, line) for line in range(150)), *((GOOD, line) for line in range(30)))
    environ = {"LINKSPAN_SESSION_SECONDS": "6"}
    process = EgressProcess(made, (), environ)
    await process.start()
    await made.wait_outcomes(180)
    bad.clear()
    rest.hold = 0.03
    await made.command("redrive", *await made.letter(BAD))
    for part in (20, 60, 100):
        await until(lambda part=part: len(set(arrived(rest))) >= part, 60)  # type: ignore[misc]
        await process.kill()
        await made.append((BAD, 150 + part))
        process = EgressProcess(made, (), environ)
        await process.start()
    await made.wait_outcomes(1, 90, kinds=("opened",))
    await until(lambda: len(set(arrived(rest))) == 153)
    await process.stop()
    lines = arrived(rest)
    assert sorted(set(lines)) == [*range(150), 170, 210, 250]
    assert in_order([line for line in lines if line < 150])
    repeated = [got for at, got in enumerate(taken(rest)) if got.order in {one.order for one in taken(rest)[:at]}]
    assert all(got.redelivery for got in repeated)
    assert len(repeated) <= 3, "only what was in flight at a kill"
    assert kinds(await made.outcomes(), BAD).count("redriven") == 1


async def test_a_command_that_fits_nothing_changes_nothing(bridge: MakeBridge, rest: RestDestination) -> None:
    refusing(rest, (BAD, 1))
    made = await bridge(rest_system(rest))
    await made.append(*((BAD, line) for line in range(4)))
    async with made.serving():
        before = await made.wait_outcomes(4)
        partition, dead = await made.letter(BAD)
        await made.command("redrive", partition, dead - 1)
        await made.command("discard", partition, dead + 1)
        await made.command("redrive", partition, 10**9)
        await made.command("redrive", (partition + 1) % made.partitions, dead)
        await made.append((GOOD, 0))
        await until(lambda: arrived(rest, GOOD) == [0])
        await made.wait_outcomes(len(before) + 1)
        await asyncio.sleep(0.5)
        assert len(await made.outcomes()) == len(before) + 1
        await made.command("discard", partition, dead)
        await made.command("redrive", partition, dead)
        await made.wait_outcomes(1, kinds=("opened",))
    assert kinds(await made.outcomes(), BAD).count("redriven") == 0
    assert arrived(rest) == [0, 2, 3]


async def test_a_command_given_while_no_owner_is_there_acts_once(bridge: MakeBridge, rest: RestDestination) -> None:
    bad = refusing(rest, (BAD, 0))
    made = await bridge(rest_system(rest))
    await made.append((BAD, 0), (BAD, 1))
    async with made.serving():
        await made.wait_outcomes(2)
    bad.clear()
    await made.command("redrive", *await made.letter(BAD))
    async with made.serving():
        await made.wait_outcomes(1, kinds=("opened",))
    bad.add((BAD, 2))
    await made.append((BAD, 2))
    async with made.serving():
        await made.wait_outcomes(2, kinds=("dead_lettered",))
        await asyncio.sleep(1)
    assert kinds(await made.outcomes(), BAD).count("redriven") == 1
    assert arrived(rest) == [0, 1]


async def test_held_longer_than_events_are_kept_they_come_all_the_same(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    bad = refusing(rest, (BAD, 0))
    made = await bridge(rest_system(rest))
    await made.append(*((BAD, line) for line in range(10)))
    async with made.serving():
        await made.wait_outcomes(10)
        await asyncio.sleep(2.5)  # a checkpoint
    letter = await made.letter(BAD)
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    for topic in (made.topics.events, made.topics.outcomes):
        gone = {TopicPartition(topic, number): RecordsToDelete(-1) for number in range(made.partitions)}
        await admin.delete_records(gone)
    await admin.close()
    bad.clear()
    async with made.serving():
        await made.command("redrive", *letter)
        await until(lambda: arrived(rest) == list(range(10)))


async def test_what_retention_took_before_delivery_is_recorded_and_the_rest_is_delivered(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    refusing(rest)
    made = await bridge(rest_system(rest), partitions=1)
    await made.append((BAD, 0))
    async with made.serving():
        await made.wait_outcomes(1)
    await made.append(*((BAD, line) for line in range(1, 10)))
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(made.topics.events, 0): RecordsToDelete(6)})
    await admin.close()
    assert (await audit(made)).code == 1, "nobody has said yet that they are gone"
    async with made.serving():
        outcomes = await made.wait_outcomes(6)
        await asyncio.sleep(2.5)  # a checkpoint
        done = await audit(made)
    assert arrived(rest) == [0, 6, 7, 8, 9]
    (gone,) = [one for one in outcomes if one["kind"] == "expired"]
    assert (gone["offset"], gone["failure"]) == (1, "expired")
    assert "retention deleted the events from 1 to 5" in gone["reason"]
    assert done.code == 0
    assert done.orders == {"accepted": 4, "delivered": 4, "expired_by_retention": 5}


async def test_a_letter_that_held_no_key_is_redriven_alone(bridge: MakeBridge, rest: RestDestination) -> None:
    bad = refusing(rest, (BAD, 1))
    made = await bridge(rest_system(rest), on_dead_letter="continue")
    await made.append(*((BAD, line) for line in range(4)))
    async with made.serving():
        await made.wait_outcomes(4)
        assert arrived(rest) == [0, 2, 3]
        bad.clear()
        await made.command("redrive", *await made.letter(BAD))
        await until(lambda: arrived(rest)[-1] == 1)
        await made.wait_outcomes(4, kinds=("delivered",))
        await asyncio.sleep(2.5)  # a checkpoint
    assert await copies(made) == set()


async def test_time_to_live_does_not_end_what_is_redriven(bridge: MakeBridge, rest: RestDestination) -> None:
    bad = refusing(rest, (BAD, 0))
    made = await bridge(rest_system(rest))
    async with made.serving():
        await made.append((BAD, 0), (BAD, 1), ttl=6)
        await made.wait_outcomes(2)
        await asyncio.sleep(6.5)
        bad.clear()
        await made.command("redrive", *await made.letter(BAD))
        await until(lambda: arrived(rest) == [0, 1])


async def test_the_same_id_again_is_a_duplicate_and_with_other_content_a_conflict_that_holds_nothing(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    refusing(rest)
    made = await bridge(rest_system(rest))
    (message_id,) = await made.append((BAD, 0))
    async with made.serving():
        await made.wait_outcomes(1)
        await made.append((BAD, 0), (BAD, 1), message_id=message_id)
        await made.append((BAD, 2))
        outcomes = await made.wait_outcomes(4)
    assert kinds(outcomes, BAD) == ["delivered", "duplicate", "dead_lettered", "delivered"]
    assert [one["failure"] for one in outcomes][2] == "conflict"
    assert arrived(rest) == [0, 2]
    async with made.serving():
        await made.append((BAD, 0), message_id=message_id)
        outcomes = await made.wait_outcomes(5)
    assert kinds(outcomes, BAD)[-1] == "duplicate", "known from the kept window, across a restart"
    assert arrived(rest) == [0, 2]
