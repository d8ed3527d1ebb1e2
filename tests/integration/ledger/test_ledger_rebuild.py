"""A ledger that is folded again says the same, and takes the place of the live one while that goes on."""

from __future__ import annotations

import asyncio
import sys
from typing import NamedTuple

import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition
from tests.integration.egress.bridge import FLOW, order_id
from tests.integration.ledger.conftest import MakeSite
from tests.integration.ledger.site import PATIENCE, Site, environment, eventually

from linkspan.readmodel.rows import MessageFilter

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]


class Done(NamedTuple):
    code: int
    out: str
    err: str


async def command(site: Site, *arguments: str) -> Done:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "linkspan", "ledger", arguments[0], str(site.path), *arguments[1:]),
        env=environment(site),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 2 * PATIENCE)
    return Done(process.returncode or 0, out.decode(), err.decode())


@pytest.mark.timeout(400)
async def test_a_rebuild_says_the_same_as_the_live_one_while_traffic_flows(site: MakeSite) -> None:
    made = await site()
    async with made.ledger():
        await made.traffic(2_000)
        await made.outcomes(0, ("owner", -1, 2), ("dead_lettered", 3, 1), ("dead_lettered", 4, 2))
        stop = asyncio.Event()
        flowing = asyncio.create_task(keep_sending(made, stop))
        done = await command(made, "rebuild", "--verify")
        stop.set()
        sent = await flowing
        assert done.code == 0, done
        assert "the content is the same as before: " in done.out
        assert made.builds() == {2: "live"}
        # Not the stale one of epoch 1, but that of epoch 2; later ones of epoch 1 are stale, too.
        await eventually(made.is_folded(2_000 + sent), PATIENCE, lambda: "not all is folded")
        made.check_counters()
        counts = await made.counts()
        assert counts["dead_lettered"] == 1
        assert sum(counts.values()) - counts["repeats"] == 2_000 + sent
    again = await command(made, "digest")
    assert again.code == 0
    assert f"build 2: {2_000 + sent} messages, digest " in again.out


async def keep_sending(site: Site, stop: asyncio.Event) -> int:
    sent = 0
    while not stop.is_set():
        await site.traffic(50, start=10_000 + sent)
        sent += 50
        await asyncio.sleep(0.3)
    return sent


@pytest.mark.timeout(400)
async def test_a_rebuild_that_was_killed_goes_on_and_one_begun_anew_comes_to_the_same(site: MakeSite) -> None:
    made = await site()
    async with made.ledger():
        await made.traffic(12_000)
        await made.settled({"delivered": 12_000}, 3 * PATIENCE)
    before = await command(made, "digest")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "linkspan", "ledger", "rebuild", str(made.path)),
        env=environment(made),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    assert b"records folded" in await asyncio.wait_for(process.stdout.readline(), PATIENCE)
    process.kill()
    await process.wait()
    assert made.builds() == {1: "live", 2: "building"}
    assert (await command(made, "digest")).out == before.out
    done = await command(made, "rebuild", "--verify")
    assert (done.code, made.builds()) == (0, {2: "live"}), done
    assert "the content is the same as before: 12000 messages" in done.out
    made.check_counters()
    done = await command(made, "rebuild", "--verify", "--restart")
    assert (done.code, made.builds()) == (0, {3: "live"}), done
    after = await command(made, "digest")
    assert after.out == before.out.replace("build 1", "build 3")


async def test_what_is_parked_stays_known_when_its_event_and_outcome_are_gone(site: MakeSite) -> None:
    made = await site(partitions=1)
    await made.append(*((order_id(1), number) for number in range(10)))
    await made.park(0, 2, "dead_lettered", order_id(1))
    await made.park(0, 3, "held", order_id(1))
    await made.park(0, 8, "held", order_id(1))  # its event is still there, and no outcome names this copy
    await made.outcomes(0, ("owner", -1, 1), *(("delivered", offset, 1) for offset in (0, 1, 4, 5, 6, 7, 9)))
    await forget(made, made.topics.events, 8)
    await forget(made, made.topics.outcomes, 5)
    done = await command(made, "rebuild")
    assert done.code == 0, done
    rows, _ = await made.queries.messages(MessageFilter(flow=FLOW), 100, "")
    known = {row.offset: row.status for row in rows}
    assert known == {2: "dead_lettered", 3: "held", 6: "delivered", 7: "delivered", 8: "in_flight", 9: "delivered"}
    (dead,) = [row for row in rows if row.offset == 2]
    assert (dead.key, dead.attempts, dead.failure, dead.reason) == (order_id(1), 3, "rejected", "no such order")
    timeline = await made.queries.timeline(FLOW, 0, 2)
    assert [(one.kind, one.offset) for one in timeline] == [("accepted", 2), ("dead_lettered", -1)]
    made.check_counters()
    async with made.ledger():
        await made.outcomes(0, ("redriven", 2, 1), ("delivered", 2, 1))
        await made.settled({"delivered": 4, "held": 1, "in_flight": 1})


async def forget(site: Site, topic: str, before: int) -> None:
    """As retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=site.bootstrap)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=before)})
    finally:
        await admin.close()


async def test_a_mistake_is_one_line(site: MakeSite) -> None:
    made = await site(partitions=1)
    done = await command(made, "digest")
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    made.database.prepare("another")
    done = await command(made, "rebuild")
    assert (done.code, done.out) == (2, "")
    assert "is the ledger of the integration another" in done.err
