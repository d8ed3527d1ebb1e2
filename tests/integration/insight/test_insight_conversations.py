"""Requests and their answers find each other."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import aiohttp
import pytest
import uuid_utils
from aiokafka import AIOKafkaProducer
from tests.integration.insight.conftest import Start
from tests.integration.insight.logbook import ANSWERS, ASKS, Logbook, correlation, until, write_integration
from tests.integration.insight.traffic import MINUTE
from tests.integration.insight.worker import WorkerProcess

from linkspan.kernel.message import now_micros
from linkspan.kernel.topics import CONVERSATIONS_TABLE, FlowTopics, InsightTopics
from linkspan.readmodel.windows import flow_windows

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


async def told(log: Logbook, about: str, *states: str) -> dict[str, Any]:
    """The last record of the conversation, once it says one of these states."""

    async def said() -> dict[str, Any] | None:
        found = (await log.conversations()).get(about)
        return found[-1] if found and found[-1]["state"] in states else None

    found: dict[str, Any] = await until(said, 60, f"{about} is not {states}: {(await log.conversations()).get(about)}")
    return found


async def metric(worker: WorkerProcess, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{worker.address}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)


async def test_a_conversation_is_answered_overdue_or_late_also_across_a_kill(log: Logbook, start: Start) -> None:
    answered, before, twice, missed = (correlation() for _ in range(4))
    old, ids = now_micros() - 6 * MINUTE, [str(uuid_utils.uuid7()) for _ in range(4)]
    worker = await (await start()).ready()
    await log.say(ASKS, (answered, ids[0], None), (missed, ids[1], old))
    await log.say(ANSWERS, (before, ids[2], old + MINUTE))
    assert (await told(log, answered, "waiting"))["answerAt"] is None
    assert (await told(log, missed, "overdue"))["dueAt"] == old + 5 * MINUTE

    await worker.kill()
    await log.say(ASKS, (before, ids[3], old), (twice, None, old), (answered, ids[0], None))
    await log.say(ANSWERS, (twice, ids[0], old + MINUTE), (twice, ids[0], old + MINUTE))
    worker = await (await start()).ready()
    await log.say(ANSWERS, (answered, ids[1], None), (missed, None, None), (twice, None, None))

    found = await told(log, answered, "answered")
    assert (found["requestFlow"], found["requestMessageId"]) == (ASKS, ids[0])
    assert (found["answerFlow"], found["answerMessageId"]) == (ANSWERS, ids[1])
    assert (await told(log, before, "answered"))["answerMessageId"] == ids[2]
    assert (await told(log, twice, "answered"))["answerMessageId"] == ids[0]
    assert (await told(log, missed, "late"))["requestMessageId"] == ids[1]
    assert [one["state"] for one in (await log.conversations())[missed]][-2:] == ["overdue", "late"]
    assert await worker.stop() == 0
    assert not flow_windows(await log.windows(), now_micros()), "a worker that ends in order takes its records back"


async def test_a_finished_conversation_leaves_the_table_and_bad_records_are_counted_and_passed_over(
    log: Logbook, start: Start
) -> None:
    worker = await (await start(LINKSPAN_INSIGHT_KEEP_SECONDS="3")).ready()
    mentions, about = InsightTopics.of(log.name).mentions, correlation()
    async with AIOKafkaProducer(bootstrap_servers=log.bootstrap) as producer:
        for partition in range(log.partitions):
            await producer.send(mentions, b"no mention", about.encode(), partition)
            await producer.send(FlowTopics.of(log.name, ASKS).events, b"no event", None, partition)
            await producer.send(FlowTopics.of(log.name, ASKS).outcomes, b"no outcome", None, partition)
    await log.say(ASKS, (about, None, None))
    await log.say(ANSWERS, (about, None, None))
    await told(log, about, "answered")

    async def skipped() -> bool:
        names = ("event", "outcome", "mention")
        counts = [await metric(worker, f'linkspan_insight_skipped_total{{what="{name}"}}') for name in names]
        return counts == [4.0, 4.0, 4.0]

    async def forgotten() -> bool:
        rows = await log.rows(InsightTopics.of(log.name).changelog(CONVERSATIONS_TABLE))
        return rows.get(f"{ASKS}/{about}".encode(), b"") is None

    await until(skipped, 30)
    await until(forgotten, 30)
    await log.say(ASKS, (about, None, None))
    await told(log, about, "waiting")


async def test_a_topic_that_is_missing_is_named_before_anything_starts(tmp_path: Any, kafka: Any) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "linkspan", "insight", str(write_integration(tmp_path, partitions=1, within="1m"))),
        *("--port", "0"),
        env=os.environ | {"MESSAGE_QUEUE_URL": f"kafka://{kafka.bootstrap}", "LINKSPAN_DATA": str(tmp_path)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 2
    assert "-conversations-changelog: is missing" in said.decode()
    assert "linkspan topics makes them" in said.decode()
