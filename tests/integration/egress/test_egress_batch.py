"""Batches from events in Kafka to outcomes: order and holds of each key are what they are without batches."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.integration.egress.bridge import in_order, lines_by_key, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import Got, RestDestination, until

pytestmark = pytest.mark.kafka
ORDERS = [(order_id(key), line) for line in range(10) for key in range(20)]
BATCHES = {"path": "/v1/orders/{orderId}", "batch": {"path": "/v1/batch", "size": 8, "wait": "50ms"}}


async def test_batches_hold_one_message_of_a_key_and_everything_arrives_in_order(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), deliver=BATCHES)
    ids = await made.append(*ORDERS)
    keys = dict(zip(ids, (key for key, _ in ORDERS), strict=True))
    async with made.serving():
        outcomes = await made.wait_outcomes(len(ORDERS))
    assert Counter(one["kind"] for one in outcomes) == {"delivered": len(ORDERS)}
    assert lines_by_key([got.order for got in rest.got]) == {order_id(key): list(range(10)) for key in range(20)}
    assert max(len(batch) for batch in rest.batches) > 1
    assert all(len({keys[one] for one in batch}) == len(batch) <= 8 for batch in rest.batches)


async def test_a_message_rejected_in_a_batch_holds_its_key_and_its_follower_is_never_sent(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    """Interleaving 15: m5 and m6 of one key are never in one batch."""
    bad = order_id(3), 5
    rest.reply = lambda got: 422 if got.order == bad else 201
    made = await bridge(rest_system(rest), partitions=1, deliver=BATCHES)
    await made.append(*ORDERS)
    async with made.serving():
        outcomes = await made.wait_outcomes(len(ORDERS))
    kinds = Counter((one["kind"], one["key"] == bad[0]) for one in outcomes)
    assert kinds == {("delivered", False): 190, ("delivered", True): 5, ("dead_lettered", True): 1, ("held", True): 4}
    assert lines_by_key([got.order for got in rest.got])[bad[0]] == [0, 1, 2, 3, 4, 5]


async def test_a_connection_reset_in_the_middle_of_a_batch_spends_no_attempt_and_marks_what_comes_again(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    """The destination takes a batch and cuts the connection instead of answering."""
    taken: list[Got] = []

    def whole(got: list[Got]) -> str | None:
        if not taken and len(got) > 3:
            rest.got += got
            taken.extend(got)
            return "cut"
        return None

    rest.whole = whole
    made = await bridge(rest_system(rest), deliver=BATCHES)
    async with made.serving() as service:
        await until(lambda: len(service.member.partitions) == made.partitions)
        await made.append(*ORDERS)
        outcomes = await made.wait_outcomes(len(ORDERS))
    assert taken
    assert Counter((one["kind"], one["attempt"]) for one in outcomes) == {("delivered", 0): len(ORDERS)}
    again = [got for got in rest.got if got not in taken and got.id in {one.id for one in taken}]
    assert len(again) == len(taken)
    assert all(got.redelivery for got in again)
    assert not any(got.redelivery for got in rest.got if got not in again)
    assert all(in_order(lines) for lines in lines_by_key([got.order for got in rest.got]).values())


async def test_a_destination_that_answers_fewer_results_gets_the_others_again(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    asked: Counter[str] = Counter()

    def reply(got: Got) -> int | str:
        asked[got.id] += 1
        return "omit" if got.order[1] == 4 and asked[got.id] == 1 else 201

    rest.reply = reply
    made = await bridge(rest_system(rest), deliver=BATCHES)
    async with made.serving() as service:
        await until(lambda: len(service.member.partitions) == made.partitions)
        await made.append(*ORDERS)
        outcomes = await made.wait_outcomes(len(ORDERS))
    assert Counter((one["kind"], one["attempt"]) for one in outcomes) == {("delivered", 0): len(ORDERS)}
    assert Counter(asked.values()) == {1: 180, 2: 20}
    marked = [got.redelivery for got in rest.got if got.order[1] == 4]
    assert sorted(marked) == [False] * 20 + [True] * 20


async def test_a_batch_refused_as_a_whole_costs_only_the_message_that_is_to_blame(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    bad = order_id(7), 2
    rest.whole = lambda got: 422 if any(one.order == bad for one in got) else None
    made = await bridge(rest_system(rest), on_dead_letter="continue", deliver=BATCHES)
    bad_ids = {(await made.append(*ORDERS))[ORDERS.index(bad)]}
    async with made.serving():
        outcomes = await made.wait_outcomes(len(ORDERS), 60)
    kinds = Counter((one["kind"], one["messageId"] in bad_ids) for one in outcomes)
    assert kinds == {("delivered", False): len(ORDERS) - 1, ("dead_lettered", True): 1}
