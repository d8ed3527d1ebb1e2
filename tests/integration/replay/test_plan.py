"""A plan says what a replay would come to before anything is sent, and freezes it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from grpc import aio
from tests.integration.cli.operator import Operator
from tests.integration.control.client import TOKENS, Caller, calling, refused, write_tokens
from tests.integration.egress.bridge import Bridge, EgressProcess, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination
from tests.integration.replay.planned import Place, frozen, frozen_plans, plan, read, request, stamp

from linkspan.control.v1 import messages_pb2, status_pb2
from linkspan.control.v1 import replays_pb2 as pb
from linkspan.kernel.records.plan import DELIVERED, GONE, HELD, UNDECODABLE, Stood

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]
QUICK = {"LINKSPAN_SESSION_SECONDS": "6"}
BAD, GOOD = order_id(1), order_id(2)
DOUBLE = '{"orderId": orderId, "line": line * 2, "text": text}'


@pytest.fixture
async def made(bridge: MakeBridge, rest: RestDestination) -> Bridge:
    return await bridge(rest_system(rest), partitions=2)


@pytest.fixture
async def process(made: Bridge) -> AsyncIterator[EgressProcess]:
    said = QUICK | {"LINKSPAN_TOKENS": str(write_tokens(made.path.parent / "tokens.yaml"))}
    async with made.egress(**said) as one:
        yield one


@pytest.fixture
async def caller(process: EgressProcess) -> AsyncIterator[Caller]:
    async with calling(process.control, TOKENS["operator"]) as one:
        yield one


async def statuses(made: Bridge) -> dict[Place, str]:
    """By the last outcome of each event."""
    return {(one["partition"], one["offset"]): one["kind"] for one in await made.outcomes() if one["offset"] >= 0}


def refusing(rest: RestDestination, *bad: tuple[str, int]) -> None:
    rest.reply = lambda got: 422 if got.order in bad else 201


async def test_what_is_meant_is_found_by_time_status_key_predicate_and_dead_letters(
    made: Bridge, rest: RestDestination, caller: Caller
) -> None:
    refusing(rest, (BAD, 12))
    await made.append(*((order_id(n), n) for n in range(10)))
    await made.wait_outcomes(10)
    since = stamp()
    await made.append((GOOD, 11), (BAD, 12), (BAD, 13), (GOOD, 14), (order_id(3), 15))
    await made.wait_outcomes(15)
    until = stamp()
    await made.append((GOOD, 16), (order_id(4), 17))
    await made.wait_outcomes(17)
    now = await statuses(made)

    whole = await plan(caller)
    assert whole.frozen.records == 17
    assert whole.frozen.statuses == {"delivered": 15, "dead_lettered": 1, "held": 1}
    assert whole.scanned == whole.total >= 34

    between = await plan(caller, since=since, until=until)
    assert between.frozen.records == 5
    assert between.frozen.dispositions == {"already_delivered": 3, "held": 2}
    assert between.frozen.forced == {"delivered": 1, "superseded": 2, "held": 2}, "GOOD was delivered later, too"
    assert between.frozen.forced_all == {"delivered": 3, "held": 2}
    list_ = await frozen(made, between.plan)
    assert Counter(now[place] for place in list_.entries) == {"delivered": 3, "dead_lettered": 1, "held": 1}

    lines = await plan(caller, since=since, predicate="payload.line >= 14 and $header.type = 'Order'")
    assert lines.frozen.records == 4
    assert lines.frozen.predicate_failures == 0
    odd = await plan(caller, predicate="payload.line = 12 ? $error('odd') : true")
    assert (odd.frozen.records, odd.frozen.predicate_failures) == (16, 1)
    assert "odd" in odd.frozen.predicate_failure
    assert (await plan(caller, predicate="payload.line")).frozen.predicate_failures == 17

    undelivered = await plan(caller, not_statuses=[messages_pb2.MESSAGE_STATUS_DELIVERED])
    assert {now[place] for place in (await frozen(made, undelivered.plan)).entries} == {"dead_lettered", "held"}
    letters = await plan(caller, dead_letters=True, statuses=[messages_pb2.MESSAGE_STATUS_DEAD_LETTERED])
    assert [now[place] for place in (await frozen(made, letters.plan)).entries] == ["dead_lettered"]
    keyed = await plan(caller, keys=[GOOD], types=["Order"])
    assert (keyed.frozen.records, keyed.frozen.distinct_keys, keyed.frozen.keys[0].key) == (4, 1, GOOD)
    partition, offset = next(iter(list_.entries))
    spanned = await plan(caller, offsets=[pb.OffsetRange(partition=partition, first=offset, end=offset + 1)])
    assert set((await frozen(made, spanned.plan)).entries) == {(partition, offset)}
    assert (await plan(caller, types=["Other"])).frozen.records == 0


async def test_two_plans_of_one_selection_have_one_list_and_nothing_is_sent(
    made: Bridge, rest: RestDestination, caller: Caller
) -> None:
    ids = await made.append(*((order_id(n % 7), n) for n in range(60)))
    await made.wait_outcomes(60)
    before = len(rest.got), await made.all_outcomes()
    first, second = [await plan(caller, message_ids=ids[10:40], reason="twice", rate=10) for _ in range(2)]
    assert first.plan != second.plan
    assert first.frozen.sha256 == second.frozen.sha256 != ""
    assert first.frozen.reason == "twice"
    assert first.frozen.by == "the operator"
    assert first.frozen.bytes > 0
    assert sum(first.frozen.hours.values()) == first.frozen.records == 30
    one, other = await frozen(made, first.plan), await frozen(made, second.plan)
    assert one.entries == other.entries
    assert all(Stood.of(entry.code).standing == DELIVERED for entry in one.entries.values())
    assert json.loads(one.head.selection)["message_ids"] == ids[10:40]
    assert (len(rest.got), await made.all_outcomes()) == before
    forced = first.frozen.forced["delivered"]
    assert first.frozen.forced == {"delivered": forced, "superseded": 30 - forced} if forced < 30 else {"delivered": 30}
    assert first.frozen.estimated.ToSeconds() == 0, "with the usual options there is nothing to send"


async def test_the_command_line_shows_the_plan_in_a_pipe_without_colours(made: Bridge, process: EgressProcess) -> None:
    operator = Operator(made, process.control, TOKENS["operator"])
    await made.append(*((order_id(n), n) for n in range(6)))
    await made.wait_outcomes(6)
    plan = ("replay", "plan", "orders", "--since", "1h", "--status", "delivered", "--reason", "to see")
    text = await operator(*plan)
    assert (text.code, text.err) == (0, "")
    assert "already-delivered" in text.out
    assert "\x1b" not in text.out
    made_of = (await operator(*plan, "--where", "payload.line > 3", "--output", "json")).json
    assert (made_of["records"], made_of["dispositions"]) == (2, {"already_delivered": "2"})
    nothing = await operator(*plan, "--type", "Other")
    assert nothing.code == 1
    wrong = await operator(*plan, "--where", "payload.[")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert wrong.err.startswith("linkspan: --where: not a JSONata expression")


@pytest.mark.thorough
async def test_a_caller_that_leaves_with_the_plan_does_the_replica_no_harm(
    made: Bridge, process: EgressProcess
) -> None:
    await made.append((GOOD, 1))
    for _ in range(8):
        async with calling(process.control, TOKENS["operator"]) as caller:
            call = caller.stream("PlanReplay", request(), 60)
            async for one in call:
                if one.plan:
                    break
            call.cancel()
    async with calling(process.control, TOKENS["viewer"]) as caller:
        assert (await caller("GetStatus", status_pb2.GetStatusRequest())).flows
    assert len(await frozen_plans(made)) == 8


async def test_what_cannot_be_sent_is_a_figure_bytes_of_no_schema_and_what_retention_took(
    made: Bridge, rest: RestDestination, caller: Caller
) -> None:
    refusing(rest, (order_id(5), 105))
    await made.append(*((order_id(n), 100 + n) for n in range(12)))
    await made.wait_outcomes(12)
    await made.append_raw(b"\xc3\x01no schema has this fingerprint", GOOD, **{"message-id": b"x", "accepted-at": b"no"})
    await made.append((order_id(5), 120))
    await made.wait_outcomes(14)
    now = await statuses(made)
    events = {number: await read(made, made.topics.events, number) for number in range(2)}
    letter = next(place for place, kind in now.items() if kind == "dead_lettered" and place[1] < 12)
    ends = {number: events[number][-1].offset for number in range(2)}
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    try:
        tps = {TopicPartition(made.topics.events, n): RecordsToDelete(before_offset=end) for n, end in ends.items()}
        await admin.delete_records(tps)
    finally:
        await admin.close()
    taken = {(number, one.offset) for number, some in events.items() for one in some if one.offset < ends[number]}
    assert letter in taken

    found = (await plan(caller)).frozen
    list_ = await frozen(made, found.plan)
    assert list_.entries.keys() >= now.keys()
    for place, entry in list_.entries.items():
        stood, raw = Stood.of(entry.code), place in now and now[place] == "dead_lettered" and place != letter
        if place == letter:
            assert stood == Stood(HELD, 0, parked=True)
        elif raw:
            assert stood.standing == UNDECODABLE
        elif place in taken:
            assert stood == Stood(GONE, stood.newer), (place, now[place])
    gone = sum(Stood.of(entry.code).standing == GONE for entry in list_.entries.values())
    assert (
        found.dispositions["gone"]
        == found.forced_all["gone"]
        == gone
        == len(taken) - 1 - sum(1 for place in taken if Stood.of(list_.entries[place].code).standing == UNDECODABLE)
    )
    assert found.dispositions["undecodable"] == found.forced_all["undecodable"] == 1
    asked = (await plan(caller, predicate="payload.line = 105")).frozen
    assert asked.dispositions["gone"] == gone, "what cannot be asked is listed, and is not sent"
    assert asked.dispositions["held"] == 1, "its content stands in parked"


async def test_with_diff_a_sample_shows_what_is_made_of_it_today_beside_what_was_made_then(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), partitions=1, transform=[{"jsonata": DOUBLE}])
    said = QUICK | {"LINKSPAN_TOKENS": str(write_tokens(made.path.parent / "tokens.yaml"))}
    async with made.egress(**said) as process, calling(process.control, TOKENS["operator"]) as caller:
        await made.append(*((GOOD, line) for line in range(5)))
        await made.wait_outcomes(5)
        hash_ = (await made.outcomes())[0]["transform"]
        by_hash = await plan(caller, transform=hash_, diff=True, samples=2)
        assert by_hash.frozen.records == 5
        assert (await plan(caller, transform="0123456789abcdef")).frozen.records == 0
    samples = by_hash.frozen.samples
    assert [one.offset for one in samples] == [0, 4]
    assert [json.loads(one.now)["line"] for one in samples] == [0, 8]
    assert {one.transform for one in samples} == {hash_}
    assert {one.status for one in samples} == {"delivered"}
    assert [one.disposition for one in samples] == ["already_delivered"] * 2
    assert (await frozen(made, by_hash.plan)).head.transforms == (hash_,)


async def test_a_call_that_is_cancelled_leaves_nothing(made: Bridge, caller: Caller) -> None:
    await made.append(*((order_id(n % 7), n) for n in range(2_000)))
    call = caller.stream("PlanReplay", request(predicate="$sum([1..2000]) > payload.line"), 60)
    async for _ in call:
        break
    call.cancel()
    await asyncio.sleep(6)
    assert await frozen_plans(made) == {}
    assert not [one for number in range(2) for one in await read(made, made.topics.replays, number) if one.value]
    assert (await plan(caller)).frozen.records == 2_000, "the next one has its turn"


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"flow": ""}, "flow", "name a flow"),
    ({"reason": " "}, "reason", "say why"),
    ({"since": stamp(2_000_000), "until": stamp(1_000_000)}, "until", "is not after since"),
    ({"predicate": "payload.["}, "predicate", "not a JSONata expression"),
    ({"predicate": "$now() > 1"}, "predicate", "$now cannot be used"),
    ({"offsets": [pb.OffsetRange(partition=9)]}, "offsets[0].partition", "0 to 1"),
    ({"offsets": [pb.OffsetRange(partition=0, first=5, end=5)]}, "offsets[0].end", "not after first"),
    ({"samples": 101}, "samples", "1 to 100"),
    ({"rate": -1.0}, "rate", "messages a second"),
    ({"keys": [""]}, "keys", "empty"),
    ({"statuses": [messages_pb2.MESSAGE_STATUS_HELD], "not_statuses": [3]}, "statuses", "no status is left"),
]


async def test_a_wrong_request_is_told_its_field(caller: Caller, made: Bridge) -> None:
    for asked, field, says in WRONG:
        with pytest.raises(aio.AioRpcError) as error:
            await plan(caller, **asked)
        told = refused(error.value)
        assert (told.code, told.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field]), asked
        assert says in told.text
    with pytest.raises(aio.AioRpcError) as error:
        await plan(caller, flow="nothing")
    assert refused(error.value).reason == "NO_SUCH_FLOW"
    assert await frozen_plans(made) == {}
