"""What operators do, and what all replicas make of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc import aio
from tests.integration.control.client import TOKENS, Caller, calling, refused, write_tokens
from tests.integration.egress.bridge import FLOW, Bridge, EgressProcess, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until

from linkspan.control.v1 import commands_pb2 as pb
from linkspan.control.v1 import status_pb2
from linkspan.kernel.commands import LOG_LEVEL, Command, CommandCodec
from linkspan.kernel.topics import control_topic

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
QUICK = {"LINKSPAN_SESSION_SECONDS": "6"}


def tokens(made: Bridge) -> dict[str, str]:
    return QUICK | {"LINKSPAN_TOKENS": str(write_tokens(made.path.parent / "tokens.yaml"))}


@pytest.fixture
async def made(bridge: MakeBridge, rest: RestDestination) -> Bridge:
    return await bridge(rest_system(rest))


@pytest.fixture
async def process(made: Bridge) -> AsyncIterator[EgressProcess]:
    async with made.egress(**tokens(made)) as one:
        yield one


@pytest.fixture
async def admin(process: EgressProcess) -> AsyncIterator[Caller]:
    async with calling(process.control, TOKENS["admin"]) as caller:
        yield caller


async def eventually(true: Callable[[], Awaitable[Any]], seconds: float = 40) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await true()):  # noqa: ASYNC110 - whatever a test waits for
            await asyncio.sleep(0.1)
        return found


def flush(**more: Any) -> pb.FlushQueueRequest:
    return pb.FlushQueueRequest(flow=FLOW, reason="wrong orders", **more)


@pytest.mark.thorough
async def test_a_flush_gives_up_what_is_unfinished_once_also_where_owners_are_killed_meanwhile(
    made: Bridge, rest: RestDestination
) -> None:
    """Held followers stay, what comes later is delivered."""
    rest.reply = lambda got: 422 if got.order[0] == order_id(1) else 201
    async with made.egress(**tokens(made)) as one, calling(one.control, TOKENS["admin"]) as caller:
        await made.append((order_id(1), 0), (order_id(1), 1))
        await made.wait_outcomes(2, kinds=("dead_lettered", "held"))
        await caller.pause()
        await made.append(*[(order_id(key), line) for line in range(150) for key in range(2, 22)])
        assert (await caller("FlushQueue", flush(dry_run=True))).messages == 3000
        with pytest.raises(aio.AioRpcError) as error:
            await caller("FlushQueue", flush(expected=2999))
        said = refused(error.value)
        assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MORE_THAN_EXPECTED")
        found = await caller("FlushQueue", flush(expected=3000))
        assert found.messages == 3000
        assert [command.kind for command in found.commands] == ["flush"] * len(found.commands)
        await asyncio.sleep(0.05)
        await one.kill()
    later = [(order_id(key), 150) for key in range(2, 22)]
    await made.append(*later)
    async with made.egress(**tokens(made)) as two, calling(two.control, TOKENS["admin"]) as caller:
        await asyncio.sleep(0.3)
        await two.kill()
    async with made.egress(**tokens(made)) as three, calling(three.control, TOKENS["admin"]) as caller:
        await caller.resume()
        await made.wait_outcomes(len(later), 60, ("delivered",))

        async def nothing_left() -> bool:
            return bool((await caller("FlushQueue", flush(dry_run=True))).messages == 0)

        await eventually(nothing_left)
    outcomes = await made.outcomes()
    given_up = [(one["partition"], one["offset"]) for one in outcomes if one["kind"] == "discarded"]
    assert len(given_up) == len(set(given_up)) == 3000
    offsets = {command.offset for command in found.commands}
    assert {one["command"] for one in outcomes if one["kind"] == "discarded"} == offsets
    assert sorted(got.order for got in rest.got if got.order[0] != order_id(1)) == sorted(later)
    assert [one["kind"] for one in outcomes if one["key"] == order_id(1)] == ["dead_lettered", "held"]


async def test_the_log_level_changes_in_all_replicas_and_in_those_that_come_later(
    made: Bridge, process: EgressProcess, admin: Caller
) -> None:
    assert not process.lines("control call")
    command = (await admin("SetLogLevel", pb.SetLogLevelRequest(level="debug", reason="to look"))).command
    assert (command.kind, command.subject, command.result) == ("log_level", "log level debug", "set in all replicas")
    status = await admin("GetStatus", status_pb2.GetStatusRequest())
    assert status.log_level == "debug"
    await until(lambda: bool(process.lines("control call")))
    async with made.egress(**tokens(made)) as later:
        await until(lambda: any(one["level"] == "debug" for one in later.lines("takeover")))
    await admin("SetLogLevel", pb.SetLogLevelRequest(level="info", reason="seen"))
    await asyncio.sleep(0.5)
    before = len(process.lines("control call"))
    await admin("GetStatus", status_pb2.GetStatusRequest())
    assert len(process.lines("control call")) == before


async def test_a_sample_of_the_messages_is_measured_while_somebody_wants_to_know(made: Bridge, admin: Caller) -> None:
    request = pb.EnableProfilingRequest(sample_rate=1, detailed_timings=True, reason="slow")
    assert (await admin("EnableProfiling", request)).command.result == "measures 100 % of the messages"
    ids = await made.append(*[(order_id(key), 0) for key in range(50)])
    await made.wait_outcomes(50)

    async def measured() -> Any:
        profile = await admin("GetProfile", pb.GetProfileRequest(slowest=5))
        return profile if [stage.count for stage in profile.stages] == [50] * 5 else None

    found = await eventually(measured)
    stages = {stage.name: stage for stage in found.stages}
    assert set(stages) == {"wait", "prepare", "attempt", "record", "message"}
    assert stages["message"].longest.ToNanoseconds() >= stages["attempt"].longest.ToNanoseconds() > 0
    slowest = [one.took.ToNanoseconds() for one in found.slowest_operations]
    assert slowest == sorted(slowest, reverse=True)
    assert (len(slowest), found.slowest_operations[0].stage) == (5, "message")
    assert slowest[0] == stages["message"].longest.ToNanoseconds()
    assert {one.message_id for one in found.slowest_operations} <= set(ids)
    await admin("EnableProfiling", pb.EnableProfilingRequest(sample_rate=0, reason="seen"))
    await made.append((order_id(1), 1))
    await made.wait_outcomes(51)
    found = await admin("GetProfile", pb.GetProfileRequest())
    assert (found.sample_rate, {stage.count for stage in found.stages}) == (0, {50})


async def test_a_reset_breaker_asks_at_once(bridge: MakeBridge, rest: RestDestination) -> None:
    away = {"attempts": 3, "first": "600s", "cap": "600s"}
    made = await bridge(rest_system(rest) | {"retry": away})
    rest.reply = lambda _got: 503
    async with made.egress(**tokens(made)) as one, calling(one.control, TOKENS["operator"]) as caller:
        await made.append((order_id(1), 0))

        async def is_open() -> bool:
            flow = (await caller("GetStatus", status_pb2.GetStatusRequest())).flows[0]
            return bool(flow.breaker == status_pb2.BREAKER_STATE_OPEN and "503" in flow.breaker_reason)

        await eventually(is_open)
        rest.reply = lambda _got: 201
        target = pb.Target(destination="store")
        command = (await caller("ResetBreaker", pb.ResetBreakerRequest(target=target, reason="it is back"))).command
        assert (command.subject, command.result) == ("destination store", "told all replicas")
        await made.wait_outcomes(1, 60, ("delivered",))


async def test_the_audit_trail_comes_in_pages_the_newest_first(admin: Caller) -> None:
    for _ in range(3):
        await admin.pause(reason="round")
        await admin.resume(reason="round")
    mine = pb.ListCommandsRequest(page_size=4, by="the admin")
    first = await admin("ListCommands", mine)
    mine.page_token = first.next_page_token
    second = await admin("ListCommands", mine)
    offsets = [one.offset for one in [*first.commands, *second.commands]]
    assert offsets == sorted(offsets, reverse=True)
    assert (len(first.commands), len(second.commands), second.next_page_token) == (4, 2, "")
    newest = first.commands[0]
    said = (newest.kind, newest.by, newest.role, newest.reason, newest.subject, newest.result, newest.effective)
    assert said == ("resume", "the admin", "admin", "round", "flow orders", "resumed", True)
    pauses = await admin("ListCommands", pb.ListCommandsRequest(kind="pause"))
    assert [one.offset for one in pauses.commands] == offsets[1::2]
    with pytest.raises(aio.AioRpcError) as error:
        await admin("ListCommands", pb.ListCommandsRequest(page_token="made-up"))
    assert refused(error.value).fields == ["page_token"]


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("Pause", pb.PauseRequest(reason="x"), "target"),
        ("Pause", pb.PauseRequest(target=pb.Target(flow=FLOW), reason=" "), "reason"),
        ("SetLogLevel", pb.SetLogLevelRequest(level="loud", reason="x"), "level"),
        ("EnableProfiling", pb.EnableProfilingRequest(sample_rate=2, reason="x"), "sample_rate"),
        ("FlushQueue", pb.FlushQueueRequest(reason="x"), "flow"),
        ("GetProfile", pb.GetProfileRequest(slowest=101), "slowest"),
        ("ListCommands", pb.ListCommandsRequest(page_size=-1), "page_size"),
    ],
)
async def test_a_wrong_field_is_named(admin: Caller, method: str, request_: Any, field: str) -> None:
    with pytest.raises(aio.AioRpcError) as error:
        await admin(method, request_)
    said = refused(error.value)
    assert (said.code, said.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field])


async def test_what_is_not_there_is_said(admin: Caller) -> None:
    for target, reason in ((pb.Target(flow="parcels"), "NO_SUCH_FLOW"), (pb.Target(destination="x"), "NO_SUCH_SYSTEM")):
        with pytest.raises(aio.AioRpcError) as error:
            await admin("Pause", pb.PauseRequest(target=target, reason="x"))
        said = refused(error.value)
        assert (said.code, said.reason) == (grpc.StatusCode.NOT_FOUND, reason)
        assert "orders" in said.text or "store" in said.text


async def test_a_new_replica_obeys_a_topic_that_is_long(made: Bridge, rest: RestDestination) -> None:
    """The pause stands at its beginning; whoever delivers before having read the rest would not know."""
    codec, topic = CommandCodec(made.catalog), control_topic(made.integration.integration)
    await made.append((order_id(1), 0))
    async with made.producer() as producer:
        pause = Command("pause", FLOW, by="a test", reason="to see")
        await producer.send_and_wait(topic, codec.encode(pause), b"", 0)
        others = [Command(LOG_LEVEL, value="info", by="a test", reason=f"{n}") for n in range(12_000)]
        await asyncio.gather(*[await producer.send(topic, codec.encode(one), b"", 0) for one in others])
    usual = {"LINKSPAN_TOKENS": str(write_tokens(made.path.parent / "tokens.yaml"))}
    async with made.egress(**usual) as one, calling(one.control, TOKENS["operator"]) as caller:
        await asyncio.sleep(2)
        assert not rest.got
        found = await caller("ListCommands", pb.ListCommandsRequest(kind="pause"))
        assert [(command.offset, command.result) for command in found.commands] == [(0, "paused")]
        await caller.resume()
        await made.wait_outcomes(1, 90, kinds=("delivered",))
