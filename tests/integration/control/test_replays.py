"""Replays over the control API: what is refused, what all replicas say alike, and the proof. Nobody sends here."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from grpc import aio
from tests.integration.control.client import Caller, refused
from tests.integration.control.replaying import (
    control_end,
    got,
    refusal,
    start,
    started,
    started_commands,
    through,
    watch,
)
from tests.integration.control.replica import control_tail, owner, replica
from tests.integration.egress.bridge import Bridge
from tests.integration.replay.planned import frozen, frozen_plans, plan

from linkspan.control.replaying.known import KnownReplays
from linkspan.control.v1 import commands_pb2
from linkspan.control.v1 import replays_pb2 as pb
from linkspan.kernel.commands import REPLAY_START, Command
from linkspan.kernel.records.plan import PlanCodec, chunk_key

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


async def test_what_cannot_be_started_is_refused_with_a_reason_and_leaves_no_trace(made: Bridge) -> None:
    async with replica(made) as caller:
        name = (await plan(caller)).plan
        end = await control_end(made)
        for request, code, reason, fields in (
            (start("nowhere"), "NOT_FOUND", "NO_SUCH_PLAN", []),
            (start(""), "INVALID_ARGUMENT", "", ["plan"]),
            (start(name, reason=" "), "INVALID_ARGUMENT", "", ["reason"]),
            (start(name, rate=-1, canary=-1), "INVALID_ARGUMENT", "", ["rate", "canary"]),
            (start(name, to="laboratory"), "NOT_FOUND", "NO_SUCH_SYSTEM", []),
            (start(name, to="store"), "INVALID_ARGUMENT", "", ["to"]),
            (start(name, expected=11), "FAILED_PRECONDITION", "MORE_THAN_EXPECTED", []),
            (start(name, expected=13), "FAILED_PRECONDITION", "FEWER_THAN_EXPECTED", []),
        ):
            said = await refusal(caller, "StartReplay", request)
            assert (said.code, said.reason, said.fields) == (grpc.StatusCode[code], reason, fields), said
        said = await refusal(caller, "WatchReplay", watch(name))
        assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_STARTED")
        for method in ("PauseReplay", "ResumeReplay", "ConfirmReplay", "CancelReplay", "SetReplayRate"):
            said = await refusal(caller, method, getattr(pb, f"{method}Request")(plan="nowhere", reason="to see"))
            assert (said.code, said.reason) == (grpc.StatusCode.NOT_FOUND, "NO_SUCH_PLAN"), method
        assert await control_end(made) == end
        found = await got(caller, name)
        assert (found.plan.phase, found.HasField("replay")) == (pb.REPLAY_PHASE_PLANNED, False)


async def test_a_transform_of_then_that_nobody_kept_is_said_before_anything_starts(made: Bridge) -> None:
    async with replica(made) as caller, owner(made) as writes:
        await writes.outcome("delivered", 0, 0, transform="abc123")
        name = (await plan(caller)).plan
        assert (await frozen(made, name)).head.transforms == ("abc123",)
        said = await refusal(caller, "StartReplay", start(name, as_of=True, force=True))
        assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "AS_OF_UNKNOWN")
        assert "abc123" in said.text
        await writes.give(Command("transform", "orders", value="abc123", body="flow: {}"))
        while "transform" not in {one.kind for one in await commands(caller)}:  # noqa: ASYNC110 - Kafka tells it
            await asyncio.sleep(0.1)
        first = await started(caller, name, as_of=True, force=True)
        assert (first.replay.as_of, first.replay.to_send) == (True, 12)


async def commands(caller: Caller) -> list[commands_pb2.Command]:
    return list((await caller("ListCommands", commands_pb2.ListCommandsRequest())).commands)


async def test_a_plan_that_matches_the_log_no_longer_is_not_started(made: Bridge) -> None:
    async with replica(made) as caller:
        changed, gone = (await plan(caller)).plan, (await plan(caller)).plan
        codec = PlanCodec(made.catalog)
        part = (await frozen(made, changed)).head.partitions[0]
        async with made.producer() as producer:
            value = codec.encode_chunk(changed, 0, 1, b"\x00\x00\x00\x00\x00\x00\x00")
            await producer.send_and_wait(made.topics.replays, value, chunk_key(changed, 0), part.partition)
        said = await refusal(caller, "StartReplay", start(changed))
        assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PLAN_STALE")
        assert "another digest" in said.text
        async with made.producer() as producer:
            await producer.send_and_wait(made.topics.replays, None, chunk_key(changed, 0), part.partition)
        assert "1 of 1 chunks of the list is missing" in (await refusal(caller, "StartReplay", start(changed))).text
        admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(made.topics.events, 1): RecordsToDelete(before_offset=1)})
        finally:
            await admin.close()
        said = await refusal(caller, "StartReplay", start(gone))
        assert said.reason == "PLAN_STALE"
        assert "event orders/1:0 is gone by retention: the log begins at 1" in said.text
        assert REPLAY_START not in {one.kind for one in await commands(caller)}


async def test_one_of_two_starts_wins_and_both_replicas_say_which(made: Bridge) -> None:
    async with replica(made) as here, replica(made) as there:
        name, other = (await plan(here)).plan, (await plan(there)).plan
        answers = await asyncio.gather(
            *(started(one, name, rate=rate) for one, rate in ((here, 1.0), (there, 2.0))), return_exceptions=True
        )
        (won,) = (one for one in answers if isinstance(one, pb.StartReplayResponse))
        (lost,) = (one for one in answers if isinstance(one, aio.AioRpcError))
        said = refused(lost)
        assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ALREADY_STARTED")
        for caller in (here, there):
            replay = (await got(caller, name)).replay
            assert (replay.phase, replay.rate_limit) == (pb.REPLAY_PHASE_RUNNING, won.replay.rate_limit)
            said = await refusal(caller, "StartReplay", start(other))
            assert (said.code, said.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "REPLAY_ACTIVE")
            assert name in said.text
        trails = [await commands(caller) for caller in (here, there)]
        verdicts = [[(one.kind, one.subject, one.result) for one in trail] for trail in trails]
        assert verdicts[0] == verdicts[1]
        assert sum(kind == REPLAY_START and result.startswith("started") for kind, _, result in verdicts[0]) == 1


async def test_a_replay_is_steered_by_any_replica_and_the_trail_says_so_in_words(made: Bridge) -> None:
    async with replica(made) as here, replica(made) as there:
        name = (await plan(here)).plan
        await started(here, name, canary=4, rate=5.0)

        async def tell(caller: Caller, method: str, **more: Any) -> tuple[str, bool]:
            request = getattr(pb, f"{method}Request")(plan=name, reason=f"{method} it is", **more)
            command = (await caller(method, request)).command
            assert command.subject == f"replay {name}"
            return command.result, command.effective

        assert await tell(there, "PauseReplay") == ("paused", True)
        assert await tell(here, "PauseReplay") == ("was paused already", False)
        found = (await got(here, name)).replay
        assert (found.phase, found.waits) == (pb.REPLAY_PHASE_PAUSED, "paused")
        assert await tell(here, "ResumeReplay") == ("resumed", True)
        assert await tell(there, "SetReplayRate", rate=2.5) == ("at most 2.5 a second", True)
        assert await tell(here, "SetReplayRate") == ("no limit of its own", True)
        assert await tell(there, "ConfirmReplay") == ("confirmed: sends the rest", True)
        assert await tell(here, "ConfirmReplay") == ("there is nothing to confirm", False)
        assert await tell(there, "CancelReplay") == ("cancelled: what is under way ends", True)
        assert await tell(there, "ResumeReplay") == ("is ending already", False)
        while (found := (await got(here, name)).replay).phase != pb.REPLAY_PHASE_ENDING:  # noqa: ASYNC110 - Kafka tells it
            await asyncio.sleep(0.1)
        assert found.ended_by == "the operator"
        assert found.ended_reason == "CancelReplay it is"
        kinds = [one.kind for one in await commands(here)]
        assert kinds[0] == "replay_resume"
        assert kinds[-2:] == ["replay_start", "plan_frozen"]


async def test_a_canary_is_shared_out_and_its_end_is_a_phase_of_its_own(made: Bridge) -> None:
    async with replica(made) as caller, owner(made) as writes:
        name = (await plan(caller)).plan
        await started(caller, name, canary=5)
        body = next(one for one in await started_commands(made) if one.plan == name).body
        assert sum(body.canary.values()) == 5
        assert body.canary.keys() == {part.partition for part in (await frozen(made, name)).head.partitions}
        assert body.traceparent.startswith("00-")
        assert body.traceparent.endswith("-01"), "its root span is always kept"
        call = caller.stream("WatchReplay", watch(name), 60)
        async for answer in call:
            if answer.replay.phase == pb.REPLAY_PHASE_CANARY:
                break
            await writes.status(name, [0, 1], waits="confirmation", delivered=5)
        assert (answer.replay.waits, answer.replay.dispositions["delivered"]) == ("confirmation", 5)
        call.cancel()


async def test_progress_is_followed_from_any_replica_and_a_caller_that_goes_ends_nothing(made: Bridge) -> None:
    async with replica(made) as there, owner(made) as writes:
        async with replica(made) as here:
            name = (await plan(here)).plan
            call = here.stream("StartReplay", start(name), 60)
            first = await call.read()
            assert (first.replay.phase, first.replay.waits) == (pb.REPLAY_PHASE_RUNNING, "owner")
            assert (first.replay.records, first.replay.to_send, first.replay.finished) == (12, 12, 0)
            while not (await got(there, name)).HasField("replay"):  # noqa: ASYNC110 - Kafka tells it
                await asyncio.sleep(0.1)
            with pytest.raises(aio.AioRpcError) as late:
                await through(there, "WatchReplay", watch(name), 3)
            assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        watching = there.stream("WatchReplay", watch(name), 60)
        assert (await watching.read()).replay.phase == pb.REPLAY_PHASE_RUNNING
        counts = {part.partition: part.records for part in (await frozen(made, name)).head.partitions}
        seen = []
        for partition, count in counts.items():
            await writes.status(name, [partition], delivered=1)
            await writes.part_done(name, partition, 1, delivered=count - 1, failed=1)
        while (answer := await watching.read()) is not aio.EOF:
            seen.append(answer.replay.finished)
            last = answer.replay
        assert seen == sorted(seen)
        assert (last.phase, last.finished, last.failed, last.waits) == (pb.REPLAY_PHASE_COMPLETED, 12, 2, "")
        assert last.dispositions == {"delivered": 10, "failed": 2}
        assert last.HasField("ended")
        again = await through(there, "WatchReplay", watch(name))
        assert [one.replay for one in again] == [last]


async def test_who_is_still_looking_when_a_replay_ends_is_told_its_end_next(made: Bridge) -> None:
    async with replica(made) as caller, owner(made) as writes:
        name = (await plan(caller)).plan
        await started(caller, name)
        async with control_tail(made) as tail:
            following = KnownReplays(tail).follow(name)
            assert (await anext(following)).active
            for part in (await frozen(made, name)).head.partitions:
                await writes.part_done(name, part.partition, 1, delivered=part.records)
            await tail.reached(await control_end(made))
            assert [(one.active, one.dispositions["delivered"]) async for one in following] == [(False, 12)]


async def test_a_dry_run_counts_what_the_transform_makes_of_it_and_changes_nothing(made: Bridge) -> None:
    async with replica(made) as caller:
        name = (await plan(caller)).plan
        before = await control_end(made)
        last = (await through(caller, "StartReplay", start(name, reason="", dry_run=True)))[-1]
        assert (last.sent, last.replay.dry_run, last.replay.phase) == (12, True, pb.REPLAY_PHASE_COMPLETED)
        assert (last.replay.records, last.replay.finished) == (12, 12)
        assert last.replay.dispositions == {"delivered": 12}
        assert await control_end(made) == before
        assert await made.outcomes() == []
        assert not (await got(caller, name)).HasField("replay")


async def test_plans_are_listed_newest_first_in_pages(made: Bridge) -> None:
    async with replica(made) as caller:
        names = [(await plan(caller)).plan for _ in range(3)]
        await started(caller, names[1])
        first = await caller("ListReplays", pb.ListReplaysRequest(page_size=2))
        assert [one.plan for one in first.plans] == [names[2], names[1]]
        assert [one.plan for one in first.replays] == [names[1]]
        rest = await caller("ListReplays", pb.ListReplaysRequest(page_size=2, page_token=first.next_page_token))
        assert ([one.plan for one in rest.plans], rest.next_page_token) == ([names[0]], "")
        assert not (await caller("ListReplays", pb.ListReplaysRequest(flow="invoices"))).plans
        assert len(await frozen_plans(made)) == 3
