"""A dry run takes what a run would send through the real transform, and nothing leaves."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from tests.integration.egress.bridge import FLOW, Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until
from tests.integration.replay.planned import read

from linkspan.kernel.blobs import BlobsAway, BlobStore
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.message import new_id
from linkspan.kernel.records.plan import PlanCodec, ReplayOptions
from linkspan.replay.frozen import NotAsFrozen
from linkspan.replay.process import PlannerEnded, Planners, TooManyPlans
from linkspan.replay.selection import Selection
from linkspan.replay.wire import Dry, DryJob, Frozen, OldList, PlanJob, Progress

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
PICKY = '{"orderId": orderId, "line": line % 4 = 1 ? $error("line " & line & " is odd") : line, "text": text}'


@pytest.fixture
async def made(bridge: MakeBridge, rest: RestDestination) -> Bridge:
    return await bridge(rest_system(rest), partitions=2, transform=[{"jsonata": PICKY}])


@pytest.fixture
def planners(made: Bridge, tmp_path: Path) -> Planners:
    return Planners(KafkaClients(made.bootstrap), made.integration, made.catalog, BlobStore(str(tmp_path / "blobs")))


async def answers(planners: Planners, job: Any) -> list[Progress | Frozen | Dry]:
    async with aclosing(planners.run(job)) as said:
        return [one async for one in said]


async def planned(planners: Planners, **asked: Any) -> tuple[str, bytes]:
    """Its id, and the head."""
    plan = new_id()
    last = (await answers(planners, PlanJob(planners.setting, plan, Selection(FLOW, **asked), samples=1)))[-1]
    assert isinstance(last, Frozen)
    return plan, last.head


def dry(planners: Planners, made: Bridge, plan: str, head: bytes, **options: Any) -> DryJob:
    said = PlanCodec(made.catalog).encode_options(ReplayOptions(**options))
    return DryJob(planners.setting, plan, FLOW, head, said)


async def test_each_planned_record_is_counted_once_and_failures_say_why(
    made: Bridge, planners: Planners, rest: RestDestination
) -> None:
    await made.append(*((order_id(n % 5), n) for n in range(40)))
    await made.append_raw(b"\xc3\x01no schema has this fingerprint", order_id(1), **{"message-id": b"x"})
    plan, head = await planned(planners)
    last = (await answers(planners, dry(planners, made, plan, head)))[-1]
    assert isinstance(last, Dry)
    assert last.finished
    assert last.dispositions == {"delivered": 30, "failed": 10, "undecodable": 1}
    assert len(last.errors) == 10
    assert all("is odd" in reason and count == 1 for reason, count in last.errors)
    assert rest.got == []
    assert await made.all_outcomes() == []


async def test_what_retention_took_since_the_plan_is_gone(made: Bridge, planners: Planners) -> None:
    await made.append(*((order_id(n), 4 * n) for n in range(20)))
    plan, head = await planned(planners)
    admin = AIOKafkaAdminClient(bootstrap_servers=made.bootstrap)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(made.topics.events, 0): RecordsToDelete(before_offset=3)})
    finally:
        await admin.close()
    last = (await answers(planners, dry(planners, made, plan, head)))[-1]
    assert isinstance(last, Dry)
    assert last.dispositions == {"delivered": 17, "gone": 3}


async def test_a_list_that_is_not_the_one_that_was_frozen_is_refused(made: Bridge, planners: Planners) -> None:
    await made.append((order_id(1), 0), (order_id(2), 0))
    _, head = await planned(planners)
    with pytest.raises(NotAsFrozen, match="is missing"):
        await answers(planners, dry(planners, made, new_id(), head))


async def test_without_the_disk_of_its_blobs_nothing_is_planned(
    made: Bridge, planners: Planners, tmp_path: Path
) -> None:
    await made.append((order_id(1), 2))
    (tmp_path / "blobs").rename(tmp_path / "elsewhere")
    with pytest.raises(BlobsAway, match="is its disk mounted"):
        await planned(planners)
    assert not (tmp_path / "blobs").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "blobs")
    await planned(planners)


async def test_more_plans_than_a_replica_takes_are_refused_and_one_that_is_left_ends(
    made: Bridge, planners: Planners
) -> None:
    await made.append(*((order_id(n), n) for n in range(500)))
    job = PlanJob(planners.setting, new_id(), Selection(FLOW, predicate="$sum([1..2000]) > payload.line"), samples=1)
    under_way = [asyncio.create_task(answers(planners, job)) for _ in range(2)]
    await until(lambda: len(children()) == 2)
    with pytest.raises(TooManyPlans):
        await answers(planners, job)
    for one in under_way:
        one.cancel()
    await asyncio.wait(under_way)
    assert not [one for number in range(2) for one in await read(made, made.topics.replays, number) if one.value]
    _, head = await planned(planners, types=("Order",))
    assert PlanCodec(made.catalog).decode_head(head).records == 500


async def test_a_planner_that_is_killed_is_told_as_such_and_freezes_nothing(made: Bridge, planners: Planners) -> None:
    job = PlanJob(planners.setting, new_id(), Selection(FLOW), samples=1)
    planning = asyncio.ensure_future(answers(planners, job))
    await until(lambda: bool(children()))
    os.kill(children()[0], signal.SIGKILL)
    with pytest.raises(PlannerEnded, match="-9"):
        await planning
    assert await read(made, made.topics.replays, 0) == []


def children() -> list[int]:
    """Planners of this process."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (
                f"\nPPid:\t{os.getpid()}\n" in (one / "status").read_text()
                and b"replay.worker" in (one / "cmdline").read_bytes()
            ):
                found.append(int(one.name))
    return found


async def test_a_list_that_is_over_for_long_is_deleted_with_the_next_plan(made: Bridge, planners: Planners) -> None:
    await made.append((order_id(1), 0), (order_id(2), 0))
    old, head = await planned(planners)
    parts = {part.partition: part.chunks for part in PlanCodec(made.catalog).decode_head(head).partitions}
    await answers(planners, PlanJob(planners.setting, new_id(), Selection(FLOW), forget=(OldList(old, parts),)))
    for partition in parts:
        of_old = [one.value for one in await read(made, made.topics.replays, partition) if old.encode() in one.key]
        assert of_old[0] is not None
        assert of_old[-1] is None
