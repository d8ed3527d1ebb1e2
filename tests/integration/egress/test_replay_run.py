"""How a replay goes: at its rate, behind live messages, and only as long as nobody and nothing stops it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.integration.egress.bridge import Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import Got, RestDestination, until
from tests.integration.egress.plans import about, freeze, give, start, state, until_ended

from linkspan.kernel.commands import REPLAY_CANCEL, REPLAY_CONFIRM, REPLAY_PAUSE, REPLAY_RATE, REPLAY_RESUME

pytestmark = pytest.mark.kafka
KEYS = 20
ORDERS = [(order_id(number % KEYS), number // KEYS) for number in range(200)]


def replayed(rest: RestDestination) -> list[Got]:
    return [got for got in rest.got if got.replay]


async def delivered(made: Bridge) -> str:
    """A plan of 200 orders that were delivered."""
    await made.append(*ORDERS)
    await made.wait_outcomes(200)
    return await freeze(made)


async def stays(count: Callable[[], int], seconds: float = 1.0) -> int:
    """Nothing more comes, once a moment has passed."""
    await asyncio.sleep(0.5)
    before = count()
    await asyncio.sleep(seconds)
    assert count() == before
    return before


async def test_a_canary_goes_and_then_waits_until_somebody_confirms(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest), partitions=2)
    async with made.serving() as service:
        plan = await delivered(made)
        await start(made, plan, force=True, canary={0: 3, 1: 2})
        await until(lambda: len(replayed(rest)) == 5)
        assert await stays(lambda: len(replayed(rest))) == 5
        assert [said["waits"] for said in service.replays.status()] == ["confirmation"]
        await give(made, about(REPLAY_CONFIRM, plan))
        found = await until_ended(made, plan)
    assert found.counts == {"delivered": 200}


async def test_it_keeps_to_its_rate_which_changes_and_pauses_at_once(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest))
    async with made.serving() as service:
        plan = await delivered(made)
        begun = time.monotonic()
        await start(made, plan, force=True, rate=20)
        await until(lambda: len(replayed(rest)) >= 20)
        took = time.monotonic() - begun
        assert len(replayed(rest)) <= 20 * took + 8, "the rate, and one at once of each partition"
        await give(made, about(REPLAY_PAUSE, plan))
        await until(lambda: [said["waits"] for said in service.replays.status()] == ["paused"])
        await stays(lambda: len(replayed(rest)))
        await give(made, about(REPLAY_RATE, plan, "2000"))
        await stays(lambda: len(replayed(rest)))
        await give(made, about(REPLAY_RESUME, plan))
        found = await until_ended(made, plan)
    assert found.counts == {"delivered": 200}
    assert len(replayed(rest)) == 200, "what was paused was sent once"


async def test_cancelled_at_half_the_rest_is_cancelled_and_nothing_more_comes(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest))
    async with made.serving():
        plan = await delivered(made)
        await start(made, plan, force=True, rate=15)
        await until(lambda: len(replayed(rest)) >= 100)
        await give(made, about(REPLAY_CANCEL, plan))
        found = await until_ended(made, plan)
        sent = await stays(lambda: len(replayed(rest)))
    assert found.phase == "cancelled"
    assert found.counts == {"delivered": sent, "cancelled": 200 - sent}
    assert all(len(kinds) == 1 for kinds in found.ended.values())
    assert sum(one["kind"] == "cancelled" for one in found.records) <= len(found.replay.head.partitions), "ranges"


async def test_too_many_failures_of_the_canary_abort_it(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest))
    async with made.serving():
        plan = await delivered(made)
        rest.reply = lambda got: 422 if got.replay else 201
        canary = dict.fromkeys(range(4), 5)
        await start(made, plan, force=True, canary=canary, min_sent=20, max_failures=0.1)
        found = await until_ended(made, plan)
    assert found.phase == "aborted"
    assert found.replay.stopped is not None
    assert "answers were failures, more than 10%" in found.replay.stopped.reason
    assert found.replay.stopped.by == "egress"
    assert 15 <= found.counts["failed"] <= 20
    assert found.counts["failed"] + found.counts["cancelled"] == 200


async def test_a_breaker_that_opens_aborts_it_or_is_waited_for(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest))
    async with made.serving():
        plan = await delivered(made)
        rest.reply = lambda got: 503 if got.replay else 201
        await start(made, plan, force=True)
        found = await until_ended(made, plan)
        assert found.phase == "aborted"
        assert found.replay.stopped is not None
        assert "the breaker of store opened" in found.replay.stopped.reason
        assert found.counts == {"cancelled": 200}, "a destination that is away is no failure"
        again = await freeze(made)
        await start(made, again, force=True, abort_on_breaker=False)
        await asyncio.sleep(2)
        assert (await state(made)).replays.active("orders") is not None
        rest.reply = lambda _got: 201
        found = await until_ended(made, again)
    assert found.counts == {"delivered": 200}


async def test_live_messages_go_first_and_a_replay_gives_way_to_those_that_wait(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest, throttle={"concurrency": 4}), partitions=1)
    async with made.serving():
        plan = await delivered(made)
        rest.hold = 0.05
        before = len(rest.got)
        await start(made, plan, force=True, yield_lag=0.5)
        await until(lambda: len(replayed(rest)) >= 10)
        rest.hold = 0.2
        await made.append(*((order_id(100 + number), 0) for number in range(100)))
        await until(lambda: sum(1 for got in rest.got[before:] if not got.replay) == 100, 60)
        meanwhile = rest.got[before:]
        first = next(at for at, got in enumerate(meanwhile) if not got.replay)
        beside = sum(1 for got in meanwhile[first:] if got.replay)
        assert beside <= 12, "one of four at most, and none once live messages were half a second old"
        rest.hold = 0.0
        found = await until_ended(made, plan)
    assert found.counts == {"delivered": 200}


async def test_another_system_gets_all_of_it_whatever_the_own_one_has(
    bridge: MakeBridge, rest: RestDestination, tmp_path: Path
) -> None:
    staging = await RestDestination().start()
    made = await bridge(rest_system(rest))
    said = yaml.safe_load(made.path.read_text())
    said["systems"]["staging"] = rest_system(staging)
    made.path.write_text(yaml.safe_dump(said, sort_keys=False))
    made = Bridge(made.path, made.bootstrap)
    rest.reply = lambda got: 422 if got.order == (order_id(1), 3) else 201
    async with made.serving():
        await made.append(*ORDERS)
        await made.wait_outcomes(200)
        plan = await freeze(made)
        await start(made, plan, to="staging")
        found = await until_ended(made, plan)
    await staging.stop()
    assert found.counts == {"delivered": 200}, "also what is held, and what was delivered"
    assert {got.replay for got in staging.got} == {plan}
    assert not replayed(rest)
    assert {one["destination"] for one in found.records if one["kind"] == "delivered"} == {"staging"}
    lines = [got.order[1] for got in staging.got if got.order[0] == order_id(2)]
    assert lines == sorted(lines)


async def test_by_the_transform_of_then_or_by_todays(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest), transform=[{"jsonata": "$merge([$, {'text': 'then'}])"}])
    await made.append(*ORDERS[:20])
    async with made.serving():
        await made.wait_outcomes(20)
    said = yaml.safe_load(made.path.read_text())
    said["flows"]["orders"]["transform"] = [{"jsonata": "$merge([$, {'text': 'today'}])"}]
    made.path.write_text(yaml.safe_dump(said))
    made = Bridge(made.path, made.bootstrap)
    async with made.serving() as service:
        for as_of, text in ((True, "then"), (False, "today")):
            before = len(rest.got)
            plan = await freeze(made)
            await start(made, plan, force=True, as_of=as_of)
            found = await until_ended(made, plan)
            assert found.counts == {"delivered": 20}
            assert {got.body["payload"]["text"] for got in rest.got[before:]} == {text}
            hashes = {one["transform"] for one in found.records if one["kind"] == "delivered"}
            today = service._transform.hash
            assert hashes == {today} if not as_of else today not in hashes


async def test_a_list_that_is_not_the_frozen_one_is_not_sent(bridge: MakeBridge, rest: RestDestination) -> None:
    from aiokafka import AIOKafkaProducer
    from tests.integration.egress.plans import read

    made = await bridge(rest_system(rest), partitions=1)
    async with made.serving():
        plan = await delivered(made)
        (record,) = (await read(made, made.topics.replays, 1))[0]
        async with AIOKafkaProducer(bootstrap_servers=made.bootstrap) as producer:
            value = record.value[:-1] + bytes([record.value[-1] ^ 1])
            await producer.send_and_wait(made.topics.replays, value, record.key, 0)
        await start(made, plan, force=True)
        async with asyncio.timeout(60):
            while (ended := (await state(made)).replays.get(plan)) is None or ended.active:  # noqa: ASYNC110 - the log's doing
                await asyncio.sleep(0.2)
    assert not replayed(rest)
    assert ended.phase == "aborted"
    assert ended.stopped is not None
    assert "SHA-256" in ended.stopped.reason
    assert ended.dispositions == {"cancelled": 200}


async def test_its_status_says_how_far_it_is(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest))
    async with made.serving() as service:
        plan = await delivered(made)
        assert service.replays.status() == []
        await start(made, plan, force=True, rate=20)
        await until(lambda: any(said["dispositions"].get("delivered", 0) >= 40 for said in service.replays.status()))
        (said,) = service.replays.status()
        assert (said["plan"], said["flow"], said["waits"]) == (plan, "orders", "")
        assert said["partitions"] == [part.partition for part in (await state(made)).replays.get(plan).head.partitions]  # type: ignore[union-attr]
        assert 40 <= said["dispositions"]["delivered"] <= said["sent"]
        assert said["failed"] == 0
        await give(made, about(REPLAY_RATE, plan, "0"))
        await until_ended(made, plan)
        await asyncio.sleep(0.5)
        assert service.replays.status() == []
