"""A frozen plan is carried out: what is sent, what is not, and what each record ended as."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from tests.integration.egress.bridge import Bridge, in_order, lines_by_key, order_id
from tests.integration.egress.conftest import MakeBridge, queue_system, rest_system
from tests.integration.egress.destinations import Got, QueueDestination, RestDestination, until
from tests.integration.egress.plans import freeze, replay, start, state, until_ended

pytestmark = pytest.mark.kafka
KEYS = 6
ORDERS = [(order_id(number % KEYS), number // KEYS) for number in range(60)]


async def delete_below(made: Bridge, offset: int) -> None:
    """As retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(made.topics.events, 0): RecordsToDelete(before_offset=offset)})
    await admin.close()


def every_record_once(ended: dict[tuple[int, int], list[str]]) -> bool:
    return all(len(kinds) == 1 for kinds in ended.values())


async def test_forced_each_is_delivered_again_once_with_its_plan_and_in_order(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest))
    ids = await made.append(*ORDERS)
    async with made.serving():
        await made.wait_outcomes(60)
        first = list(rest.got)
        plan = await replay(made, force=True)
        found = await until_ended(made, plan)
    again = rest.got[len(first) :]
    assert not any(got.replay for got in first)
    assert {got.replay for got in again} == {plan}
    assert sorted(got.id for got in again) == sorted(ids)
    assert {got.id: got.sequence for got in again} == {got.id: got.sequence for got in first}
    assert all(in_order(lines) for lines in lines_by_key([got.order for got in again]).values())
    assert not any(got.redelivery for got in again), "nobody died"
    assert (found.phase, found.counts) == ("completed", {"delivered": 60})
    assert every_record_once(found.ended)
    assert found.replay.dispositions == {"delivered": 60}
    own = [one for one in await made.outcomes() if one["plan"] is None]
    assert len(own) == 60, "a message's own status is what it was"
    assert {got.traceparent[:35] for got in again}.isdisjoint({got.traceparent[:35] for got in first})


async def test_over_a_websocket_the_frame_names_the_plan(bridge: MakeBridge, queue: QueueDestination) -> None:
    made = await bridge(queue_system(queue))
    await made.append(*ORDERS[:6])
    async with made.serving():
        await made.wait_outcomes(6)
        plan = await replay(made, force=True)
        found = await until_ended(made, plan)
    assert found.counts == {"delivered": 6}
    assert [got.replay for got in queue.got] == [None] * 6 + [plan] * 6


async def test_in_a_batch_each_message_names_the_plan(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest), deliver={"batch": {"size": 10, "wait": "20ms"}})
    await made.append(*ORDERS)
    async with made.serving():
        await made.wait_outcomes(60)
        plan = await replay(made, force=True)
        found = await until_ended(made, plan)
    assert found.counts == {"delivered": 60}
    assert sum(1 for got in rest.got if got.replay == plan) == 60


async def test_what_was_delivered_is_not_sent_again_and_has_its_disposition(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest))
    await made.append(*ORDERS)
    async with made.serving():
        await made.wait_outcomes(60)
        found = await until_ended(made, await replay(made))
    assert len(rest.got) == 60
    assert found.counts == {"already_delivered": 60}
    assert [one["kind"] for one in found.records] == ["skipped"] * len(found.replay.head.partitions)


async def test_dead_letters_that_held_nothing_are_delivered_once_the_destination_takes_them(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    rest.reply = lambda got: 422 if got.order[1] >= 5 else 201
    made = await bridge(rest_system(rest), on_dead_letter="continue")
    await made.append(*ORDERS)
    async with made.serving():
        await made.wait_outcomes(60)
        rest.reply = lambda _got: 201
        found = await until_ended(made, await replay(made))
    assert found.counts == {"already_delivered": 30, "delivered": 30}
    assert every_record_once(found.ended)


async def test_refused_again_it_has_failed_and_neither_is_a_dead_letter_nor_holds_its_key(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest))
    await made.append(*ORDERS)
    async with made.serving():
        await made.wait_outcomes(60)
        rest.reply = lambda got: 422 if got.order[1] == 3 and got.replay else 201
        found = await until_ended(made, await replay(made, force=True))
        await made.append(*((order_id(key), 10) for key in range(KEYS)))
        outcomes = await made.wait_outcomes(60 + 54 + KEYS, kinds=("delivered",))
    assert found.counts == {"delivered": 54, "failed": KEYS}
    assert not [one for one in outcomes if one["kind"] in ("dead_lettered", "held")]


async def test_a_failure_that_passes_is_tried_again_and_live_messages_of_the_key_go_meanwhile(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    key, failing = order_id(1), {0}
    retry = {"attempts": 3, "first": "15s", "cap": "15s"}
    made = await bridge(rest_system(rest, retry=retry))
    await made.append((key, 0), (order_id(2), 0))
    async with made.serving():
        await made.wait_outcomes(2)

        def reply(got: Got) -> int:
            if got.replay and failing:
                failing.pop()
                return 500
            return 201

        rest.reply = reply
        plan = await replay(made, lambda record: record.key == key.encode(), force=True, allow_superseded=True)
        await until(lambda: len(rest.got) == 3)
        await made.append((key, 1))
        await until(lambda: rest.got[-1].order == (key, 1))
        assert len(rest.got) == 4, "the replayed one waits for its retry"
        found = await until_ended(made, plan)
    assert found.counts == {"delivered": 1}
    assert [got.order[1] for got in rest.got if got.order[0] == key] == [0, 0, 1, 0]


async def test_superseded_by_a_newer_one_that_arrives_during_the_run(bridge: MakeBridge, rest: RestDestination) -> None:
    key = order_id(1)
    made = await bridge(rest_system(rest), on_dead_letter="continue")
    rest.reply = lambda _got: 422
    await made.append((key, 0), (key, 1))
    async with made.serving():
        await made.wait_outcomes(2)
        rest.reply = lambda _got: 201
        plan = await freeze(made)
        await made.append((key, 2))
        await made.wait_outcomes(1, kinds=("delivered",))
        await start(made, plan)
        found = await until_ended(made, plan)
    assert found.counts == {"superseded": 2}
    assert [got.order[1] for got in rest.got] == [0, 1, 2]


async def test_a_key_that_is_held_when_its_turn_comes_is_left_alone(bridge: MakeBridge, rest: RestDestination) -> None:
    key, other = order_id(1), order_id(2)
    made = await bridge(rest_system(rest))
    await made.append((key, 0), (other, 0))
    async with made.serving():
        await made.wait_outcomes(2)
        plan = await freeze(made)
        rest.reply = lambda got: 422 if got.order[1] == 1 else 201
        await made.append((key, 1))
        await made.wait_outcomes(1, kinds=("dead_lettered",))
        await start(made, plan, force=True)
        found = await until_ended(made, plan)
    assert found.counts == {"held": 1, "delivered": 1}
    assert [one["key"] for one in found.records if one["kind"] == "held"] == [key]


async def test_what_is_under_way_live_goes_once(bridge: MakeBridge, rest: RestDestination) -> None:
    """Planned while it waits for its first attempt: the replay finds it delivered."""
    rest.hold = 0.3
    made = await bridge(rest_system(rest, throttle={"concurrency": 1}), partitions=1)
    await made.append(*((order_id(1), line) for line in range(5)))
    async with made.serving():
        await until(lambda: len(rest.got) == 1)
        found = await until_ended(made, await replay(made, yield_lag=0))
    assert [got.order[1] for got in rest.got] == list(range(5))
    assert found.counts.keys() <= {"already_delivered", "superseded"}
    assert found.counts.total() == 5


async def test_gone_by_retention_or_not_what_was_planned_is_a_disposition(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), partitions=1)
    await made.append(*ORDERS)
    async with made.serving():
        await made.wait_outcomes(60)
        plan = await freeze(made)
        await delete_below(made, 20)
        await start(made, plan, force=True)
        found = await until_ended(made, plan)
    assert found.counts == {"gone": 20, "delivered": 40}
    assert every_record_once(found.ended)


async def test_content_that_only_the_dead_letters_hold_is_replayed_from_there(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    rest.reply = lambda got: 422 if got.order[1] < 3 else 201
    made = await bridge(rest_system(rest), partitions=1, on_dead_letter="continue")
    keyed = [(order_id(number), number % 6) for number in range(60)]
    await made.append(*keyed)
    async with made.serving():
        await made.wait_outcomes(60)
        plan = await freeze(made)
        await delete_below(made, 60)
        rest.reply = lambda _got: 201
        await start(made, plan)
        found = await until_ended(made, plan)
    assert found.counts == {"already_delivered": 30, "delivered": 30}


async def test_the_text_of_each_transform_is_kept_once(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest))
    for _ in range(2):
        async with made.serving() as service:
            async with asyncio.timeout(60):
                while not (texts := (await state(made)).transforms):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            known: Any = service._transform
    assert texts == {("orders", known.hash): known.text}
