"""Events that Kafka has no more are planned, sent and proven as if it had kept them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from aiokafka import TopicPartition
from grpc import aio
from tests.integration.archive.kept import archived, folder, forget, forget_all, segments
from tests.integration.control.client import TOKENS, Caller, Refused, calling, refused, write_tokens
from tests.integration.egress.bridge import Bridge, EgressProcess, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import Got, RestDestination
from tests.integration.egress.plans import read
from tests.integration.replay.planned import plan, stamp

from linkspan.control.v1 import messages_pb2
from linkspan.control.v1 import replays_pb2 as pb
from linkspan.kernel.archive.errors import ArchiveAway
from linkspan.kernel.archive.store import ArchiveAt
from linkspan.kernel.kafka.clients import KafkaClients, started_reader, stop_consumer

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
BAD = order_id(9)
ORDERS = [(order_id(number % 8), number) for number in range(48)]


@pytest.fixture
async def made(bridge: MakeBridge, rest: RestDestination) -> Bridge:
    return await bridge(rest_system(rest), partitions=2)


@pytest.fixture
async def process(made: Bridge) -> AsyncIterator[EgressProcess]:
    tokens = write_tokens(made.path.parent / "tokens.yaml")
    more = {"LINKSPAN_SESSION_SECONDS": "6", "LINKSPAN_TOKENS": str(tokens), "LINKSPAN_ARCHIVE": str(folder(made))}
    async with made.egress(**more) as one:
        yield one


@pytest.fixture
async def caller(process: EgressProcess) -> AsyncIterator[Caller]:
    async with calling(process.control, TOKENS["operator"]) as one:
        yield one


async def lived(made: Bridge, rest: RestDestination) -> dict[str, str]:
    """48 delivered and one dead letter, archived. Status by message id."""
    rest.reply = lambda got: 422 if got.order[0] == BAD and not got.replay else 201
    ids = await made.append(*ORDERS, (BAD, 0))
    await made.wait_outcomes(49)
    await archived(made, "--records", "7")
    return dict.fromkeys(ids[:48], "delivered") | {ids[48]: "dead_lettered"}


def replayed(rest: RestDestination) -> list[Got]:
    return [got for got in rest.got if got.replay]


async def through(caller: Caller, **options: Any) -> list[pb.StartReplayResponse]:
    request = pb.StartReplayRequest(**({"reason": "they lost them"} | options))
    return [one async for one in caller.stream("StartReplay", request, 120)]


async def proven(caller: Caller, name: str) -> pb.ReplayProof:
    found = await caller("GetReplay", pb.GetReplayRequest(plan=name, proof=True))
    return found.replay.proof  # type: ignore[no-any-return]


async def refusal(made: Any) -> Refused:
    with pytest.raises(aio.AioRpcError) as raised:
        await made
    return refused(raised.value)


async def test_what_is_in_the_archive_alone_is_planned_with_its_status_sent_once_each_and_proven(
    made: Bridge, rest: RestDestination, process: EgressProcess, caller: Caller
) -> None:
    statuses = await lived(made, rest)
    await forget_all(made)
    await made.append(*((order_id(number), 100) for number in range(4)))
    await made.wait_outcomes(4)
    found = (await plan(caller, samples=50)).frozen
    assert found.records == 53
    assert found.statuses == {"delivered": 52, "dead_lettered": 1}
    shown = {one.message_id: one.status for one in found.samples if one.message_id in statuses}
    assert len(shown) >= 45
    assert shown.items() <= statuses.items()
    assert "gone" not in found.dispositions

    forced = {"plan": found.plan, "force": True, "allow_superseded": True}
    dry = (await through(caller, dry_run=True, **forced))[-1]
    assert dry.replay.dispositions == {"delivered": 52, "held": 1}
    assert not replayed(rest)

    done = (await through(caller, **forced))[-1].replay
    assert (done.phase, done.dispositions["delivered"]) == (pb.REPLAY_PHASE_COMPLETED, 52)
    assert Counter(got.id for got in replayed(rest)).most_common(1)[0][1] == 1
    assert statuses.keys() - {got.id for got in replayed(rest)} == {m for m, s in statuses.items() if s != "delivered"}
    assert (await proven(caller, found.plan)).proven
    letters = await plan(caller, statuses=[messages_pb2.MESSAGE_STATUS_DEAD_LETTERED])
    assert letters.frozen.records == 1


async def test_a_plan_is_run_after_kafka_has_forgotten_what_it_names(
    made: Bridge, rest: RestDestination, process: EgressProcess, caller: Caller
) -> None:
    await lived(made, rest)
    found = (await plan(caller)).frozen
    await archived(made)
    await forget_all(made)
    done = (await through(caller, plan=found.plan, force=True, allow_superseded=True))[-1].replay
    assert (done.phase, dict(done.dispositions)) == (pb.REPLAY_PHASE_COMPLETED, {"delivered": 48, "held": 1})
    await archived(made)
    await forget(made, made.topics.outcomes)
    assert (await proven(caller, found.plan)).proven, "from archived outcomes"


async def test_by_time_only_what_is_meant_is_found_in_the_archive(
    made: Bridge, rest: RestDestination, process: EgressProcess, caller: Caller
) -> None:
    await made.append(*ORDERS[:20])
    await made.wait_outcomes(20)
    await asyncio.sleep(0.01)
    since = stamp()
    await made.append(*ORDERS[20:40])
    await made.wait_outcomes(40)
    until = stamp()
    await made.append(*ORDERS[40:])
    await made.wait_outcomes(48)
    await archived(made, "--records", "5")
    await forget_all(made)
    found = (await plan(caller, since=since, until=until)).frozen
    assert found.records == 20
    assert found.statuses == {"delivered": 20}


async def test_an_archive_that_is_away_is_said_and_nothing_is_begun(
    made: Bridge, rest: RestDestination, process: EgressProcess, caller: Caller
) -> None:
    await lived(made, rest)
    found = (await plan(caller)).frozen
    await forget_all(made)
    lists = await read(made, made.topics.replays, 2)
    folder(made).rename(folder(made).with_name("elsewhere"))
    for call in (plan(caller), through(caller, plan=found.plan, force=True)):
        said = await refusal(call)
        assert (said.code, said.reason) == (grpc.StatusCode.UNAVAILABLE, "ARCHIVE_AWAY")
        assert "there is no archive of" in said.text
    after = await read(made, made.topics.replays, 2)
    assert [len(after[n]) for n in range(2)] == [len(lists[n]) for n in range(2)]
    folder(made).with_name("elsewhere").rename(folder(made))
    done = (await through(caller, plan=found.plan, force=True, allow_superseded=True))[-1].replay
    assert done.dispositions["delivered"] == 48


async def test_what_went_away_in_the_midst_of_a_reading_is_away_and_not_gone(made: Bridge) -> None:
    await made.append(*ORDERS)
    await archived(made)
    await forget(made, made.topics.events)
    clients, events = KafkaClients(made.bootstrap), TopicPartition(made.topics.events, 0)
    clients.archive = ArchiveAt(str(folder(made)), made.integration.integration)
    reader = await started_reader(clients.past())
    try:
        folder(made).rename(folder(made).with_name("elsewhere"))
        with pytest.raises(ArchiveAway, match="is its disk mounted"):
            await reader.beginning_offsets([events])
        with pytest.raises(ArchiveAway, match="there is no archive"):
            await started_reader(clients.past())
        folder(made).with_name("elsewhere").rename(folder(made))
        assert await reader.beginning_offsets([events]) == {events: 0}
    finally:
        await stop_consumer(reader)


async def test_a_segment_that_was_altered_is_refused_by_name(
    made: Bridge, rest: RestDestination, process: EgressProcess, caller: Caller
) -> None:
    await lived(made, rest)
    found = (await plan(caller)).frozen
    await forget_all(made)
    altered = (await segments(made, made.topics.events))[0]
    file = folder(made) / made.integration.integration / made.topics.events / "0" / altered.name
    file.write_bytes(file.read_bytes().replace(b"linkspan", b"linkspam"))
    for call in (plan(caller), through(caller, plan=found.plan, force=True)):
        said = await refusal(call)
        assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ARCHIVE_DAMAGED")
        assert altered.name in said.text
    assert not replayed(rest)


async def test_while_the_archive_is_away_a_run_waits_and_goes_on_when_it_is_back(
    made: Bridge, rest: RestDestination, process: EgressProcess, caller: Caller
) -> None:
    await lived(made, rest)
    found = (await plan(caller)).frozen
    await forget_all(made)
    forced = {"plan": found.plan, "force": True, "allow_superseded": True}
    running = asyncio.create_task(through(caller, rate=1000, canary=4, **forced))
    await ended(lambda: len(replayed(rest)) == 4)
    folder(made).rename(folder(made).with_name("elsewhere"))
    await process.kill()
    await asyncio.wait({running})
    await process.start()
    await ended(lambda: bool(process.lines("a replay waits")))
    assert "there is no archive of" in process.lines("a replay waits")[-1]["error"]
    folder(made).with_name("elsewhere").rename(folder(made))
    async with calling(process.control, TOKENS["operator"]) as again:
        await again("ConfirmReplay", pb.ConfirmReplayRequest(plan=found.plan, reason="seen"))
        watched = [one async for one in again.stream("WatchReplay", pb.WatchReplayRequest(plan=found.plan), 120)]
        assert watched[-1].replay.dispositions["delivered"] == 48
        assert (await proven(again, found.plan)).proven


async def test_where_outcomes_were_lost_before_they_were_archived_old_events_are_not_guessed_about(
    made: Bridge, rest: RestDestination, process: EgressProcess, caller: Caller
) -> None:
    await lived(made, rest)
    for segment in await segments(made, made.topics.outcomes):
        (folder(made) / made.integration.integration / made.topics.outcomes / "0" / segment.name).unlink()
    await forget_all(made)
    said = await refusal(plan(caller))
    assert said.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "what became of events before now is not known" in said.text


async def ended(done: Any, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110 - whatever a test waits for
            await asyncio.sleep(0.1)
