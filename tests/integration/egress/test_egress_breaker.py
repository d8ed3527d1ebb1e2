"""A destination that is away, and a message that alone makes it fail: on real Kafka, against real destinations."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from tests.integration.egress.bridge import in_order, lines_by_key, order_id
from tests.integration.egress.conftest import MakeBridge, queue_system, rest_system
from tests.integration.egress.destinations import Got, QueueDestination, Reply, RestDestination, until
from tests.integration.egress.traffic import most_in_a_second, traffic

from linkspan.kernel.resilience.breaker import Mode

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
BAD = order_id(7)
#: Half of it is a first attempt's: a busy machine must not be taken for a silent one.
PATIENT = "4s"
ORDERS = [(order_id(key), line) for line in range(200) for key in range(10)]
Destination = RestDestination | QueueDestination


@pytest.fixture(params=["rest", "websocket"])
def place(request: pytest.FixtureRequest, rest: RestDestination, queue: QueueDestination) -> Any:
    """A destination, its description, and where in it."""
    if request.param == "rest":
        return rest, lambda **more: rest_system(rest, **more), {}
    return queue, lambda **more: queue_system(queue, **more), {"deliver": {"path": "/v1/queue"}}


async def bad_ends_dead(made: Any, destination: Destination) -> list[dict[str, Any]]:
    await made.append((BAD, 0))
    async with made.serving():
        async with traffic(made) as others:
            await made.wait_outcomes(1, seconds=180, kinds=("dead_lettered",))
        outcomes: list[dict[str, Any]] = await made.wait_outcomes(len(others.sent) + 1, seconds=60)
    first = {got.id: got for got in reversed(destination.got) if got.order[0] != BAD}
    assert len(first) == len(others.sent)
    assert all(got.redelivery for got in destination.got if got.order[0] != BAD and first[got.id] is not got)
    assert all(in_order(lines) for lines in lines_by_key([got.order for got in destination.got]).values())
    assert {one["key"] for one in outcomes if one["kind"] in ("dead_lettered", "attempt_failed")} == {BAD}
    return outcomes


@pytest.mark.parametrize("reply", [500, "silence", "cut"])
async def test_a_message_that_alone_fails_ends_as_a_dead_letter_and_every_other_is_delivered(
    bridge: MakeBridge, rest: RestDestination, reply: Reply
) -> None:
    rest.reply = lambda got: reply if got.order[0] == BAD else 201
    made = await bridge(rest_system(rest, timeout=PATIENT))
    outcomes = await bad_ends_dead(made, rest)
    kinds = Counter(one["kind"] for one in outcomes if one["key"] == BAD)
    assert kinds == {"attempt_failed": 2, "dead_lettered": 1}
    assert max(one["attempt"] for one in outcomes) == 3
    counts = [got.body["metadata"]["retryCount"] for got in rest.got if got.order[0] == BAD]
    assert (counts[0], counts[-1], counts) == (0, 2, sorted(counts))


async def test_a_frame_that_is_never_answered_ends_as_a_dead_letter_too(
    bridge: MakeBridge, queue: QueueDestination
) -> None:
    queue.reply = lambda got: "silence" if got.order[0] == BAD else 201
    made = await bridge(queue_system(queue, timeout=PATIENT), deliver={"path": "/v1/queue"})
    outcomes = await bad_ends_dead(made, queue)
    assert Counter(one["kind"] for one in outcomes if one["key"] == BAD) == {"attempt_failed": 2, "dead_lettered": 1}


async def test_an_outage_keeps_the_membership_and_the_memory_and_spends_no_attempt(
    bridge: MakeBridge, place: Any
) -> None:
    destination, system, where = place
    made = await bridge(system(), partitions=1, **where)
    await made.append(*ORDERS)
    destination.hold = 0.01
    async with made.serving() as service:
        await until(lambda: len(destination.got) > 100)
        await destination.stop()
        breaker = service.pipeline.breaker
        await until(lambda: breaker.mode is not Mode.CLOSED)
        mine, before, peak = service.member.partitions, len(destination.got), 0
        for _ in range(60):
            await asyncio.sleep(0.1)
            peak = max(peak, *(owner.state.unfinished for owner in service.member.owners()))
            assert breaker.mode is not Mode.CLOSED
        assert service.member.partitions == mine == [0]
        assert service.member.trouble() is None
        assert peak <= 1_000
        assert len(destination.got) == before
        await destination.start()
        outcomes = await made.wait_outcomes(len(ORDERS), seconds=90)
    assert {(one["kind"], one["attempt"]) for one in outcomes} == {("delivered", 0)}
    assert {got.body["metadata"]["retryCount"] for got in destination.got} == {0}
    arrived = lines_by_key([got.order for got in destination.got])
    assert {key: sorted(set(lines)) for key, lines in arrived.items()} == {
        order_id(key): list(range(200)) for key in range(10)
    }


@pytest.mark.parametrize(
    "reply",
    [503, *(pytest.param(one, marks=pytest.mark.thorough) for one in (500, "silence", "cut"))],
)
async def test_a_destination_that_answers_nobody_well_is_an_outage_also_beside_a_bad_message(
    bridge: MakeBridge, rest: RestDestination, reply: Reply
) -> None:
    """The outage charges nothing; the bad message is charged before and after it."""
    away = False

    def answer(got: Got) -> Reply:
        return reply if away else 500 if got.order[0] == BAD else 201

    rest.reply = answer
    made = await bridge(rest_system(rest, timeout=PATIENT))
    await made.append((BAD, 0))
    async with made.serving() as service:
        async with traffic(made) as others:
            await until(lambda: len(others.sent) > 20)
            away = True
            await until(lambda: service.pipeline.breaker.mode is not Mode.CLOSED)
            await asyncio.sleep(3)
            asked, sent = len(rest.got), len(others.sent)
            await until(lambda: len(others.sent) > sent + 40)
            new, tried = others.sent[sent:], {got.order for got in rest.got[asked:]}
            assert len(tried.intersection(new)) < len(new) / 2, "most of them wait"
            away = False
            await made.wait_outcomes(1, seconds=180, kinds=("dead_lettered",))
        outcomes = await made.wait_outcomes(len(others.sent) + 1, seconds=60)
    assert {one["key"] for one in outcomes if one["attempt"]} == {BAD}
    assert {one["kind"] for one in outcomes if one["key"] != BAD} == {"delivered"}


async def test_retry_after_is_kept_and_a_rate_limit_that_was_met_is_told_and_counted(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    limited, loop = True, asyncio.get_running_loop()
    came: list[float] = []

    def reply(_got: Got) -> Reply:
        came.append(loop.time())
        return 429 if limited else 201

    rest.reply, rest.headers = reply, {"Retry-After": "3"}
    made = await bridge(rest_system(rest))
    await made.append(*ORDERS[:10])
    async with made.egress() as process:
        await until(lambda: len(came) > 0)
        limited = False
        await made.wait_outcomes(10)
        after = [at - came[0] for at in came]
        assert sum(seconds < 2.5 for seconds in after) <= 10, "only what was under way"
        assert after[-1] > 2.5
        await process.stop()
        assert process.lines("rate limit")[0]["limit"] == "met"
        opened, closed = process.lines("breaker open: delivery waits"), process.lines("breaker half-open: probing")
        assert opened[0]["reason"].startswith("429")
        assert closed
        assert process.lines("breaker closed: delivery goes on, from one at a time")
    assert {one["attempt"] for one in await made.outcomes()} == {0}


async def test_a_rate_is_kept_by_all_deliveries_and_told(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest, throttle={"rate": "20/s"}))
    await made.append(*ORDERS[:80])
    async with made.egress() as process:
        outcomes = await made.wait_outcomes(80, seconds=60)
        await process.stop()
        told = process.lines("rate limit")
    times = [one["sentAt"] / 1e6 for one in outcomes]  # what arrives is bunched where this process stands still
    assert most_in_a_second(times) <= 20 + 2 + 3, "the rate, a burst of a tenth, and what a busy machine bunches"
    assert (told[0]["limit"], told[0]["rate"], told[0]["system"]) == ("applied", 20.0, "store")
    assert len(told) <= 3
