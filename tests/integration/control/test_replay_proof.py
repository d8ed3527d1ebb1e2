"""What is proven of a replay over the control API. Nobody sends here."""

from __future__ import annotations

import pytest
from tests.integration.control.client import Caller
from tests.integration.control.replaying import got, started, started_commands, through, watch
from tests.integration.control.replica import Owner, owner, replica
from tests.integration.egress.bridge import Bridge
from tests.integration.replay.planned import frozen, plan

from linkspan.control.v1 import replays_pb2 as pb

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


async def done(made: Bridge, writes: Owner, name: str, *, skip: int = 0) -> None:
    """Delivers all but the first ``skip`` of each partition, yet says that it did all."""
    for part in (await frozen(made, name)).head.partitions:
        offsets = [one for place, one in await places(made, name) if place == part.partition]
        end = 0
        for offset in offsets[skip:]:
            end = await writes.outcome("delivered", part.partition, offset, name)
        await writes.part_done(name, part.partition, end, delivered=part.records)


async def places(made: Bridge, name: str) -> list[tuple[int, int]]:
    return list((await frozen(made, name)).entries)


async def proof(caller: Caller, name: str) -> pb.ReplayProof:
    found: pb.ReplayProof = (await got(caller, name, proof=True)).replay.proof
    return found


async def ended(caller: Caller, name: str) -> None:
    await through(caller, "WatchReplay", watch(name))


async def test_the_proof_counts_each_planned_record_once_by_what_the_log_says(made: Bridge) -> None:
    async with replica(made) as caller, owner(made) as writes:
        name = (await plan(caller)).plan
        await started(caller, name)
        await writes.outcome("owner", 0, -1, epoch=2)
        first = (await places(made, name))[0]
        await writes.outcome("failed", *first, name, epoch=1)  # stale: a former owner's
        await writes.outcome("delivered", *first)  # live delivery, not the replay's
        for place in await places(made, name):
            await writes.outcome("attempt_failed", *place, name, epoch=2)
            await writes.outcome("delivered", *place, name, epoch=2)
        for part in (await frozen(made, name)).head.partitions:
            await writes.part_done(name, part.partition, 1_000, delivered=part.records)
        await ended(caller, name)
        found = await proof(caller, name)
        assert found == pb.ReplayProof(once=12, list_unchanged=True, dispositions={"delivered": 12}, proven=True)


async def test_what_is_not_as_it_was_said_is_not_proven(made: Bridge) -> None:
    async with replica(made) as caller, owner(made) as writes:
        missing = (await plan(caller)).plan
        await started(caller, missing)
        await done(made, writes, missing, skip=1)
        await ended(caller, missing)
        found = await proof(caller, missing)
        assert (found.proven, found.once, found.none, found.list_unchanged) == (False, 10, 2, True)

        twice = (await plan(caller)).plan
        await started(caller, twice)
        await done(made, writes, twice)
        first = (await places(made, twice))[0]
        await writes.outcome("failed", *first, twice)
        await writes.outcome("delivered", 0, 999, twice)
        await ended(caller, twice)
        found = await proof(caller, twice)
        assert (found.proven, found.once, found.repeated_dispositions, found.strays) == (False, 11, 1, 1)
        assert found.dispositions == {"delivered": 12}

        otherwise = (await plan(caller)).plan
        await started(caller, otherwise)
        for place in await places(made, otherwise):
            await writes.outcome("failed", *place, otherwise)
        for part in (await frozen(made, otherwise)).head.partitions:
            await writes.part_done(otherwise, part.partition, 1_000, delivered=part.records)
        await ended(caller, otherwise)
        found = await proof(caller, otherwise)
        assert (found.proven, found.once, found.dispositions) == (False, 12, {"failed": 12})


async def test_ranges_speak_for_what_the_options_leave_out_and_for_what_a_cancel_left_open(made: Bridge) -> None:
    async with replica(made) as caller, owner(made) as writes:
        for partition in (0, 1):
            await writes.outcome("delivered", partition, 0)
        name = (await plan(caller)).plan
        usual = (await got(caller, name, options=pb.StartReplayRequest())).counted
        assert usual == {"already_delivered": 2, "delivered": 10}
        assert (await got(caller, name, options=pb.StartReplayRequest(force=True))).counted["delivered"] == 12
        await started(caller, name)
        head = (await frozen(made, name)).head
        for part in head.partitions:
            counts = part.dispositions(next(one for one in await started_commands(made)).body)
            await writes.outcome("skipped", part.partition, 0, name, epoch=9, until=part.end)
            end = await writes.outcome("cancelled", part.partition, 0, name, epoch=9, until=part.end)
            said = {"already_delivered": counts["already_delivered"], "cancelled": counts["delivered"]}
            await writes.part_done(name, part.partition, end, **said)
        await ended(caller, name)
        found = await proof(caller, name)
        assert (found.proven, found.dispositions) == (True, {"already_delivered": 2, "cancelled": 10})
