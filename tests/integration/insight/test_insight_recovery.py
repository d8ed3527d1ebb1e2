"""A worker that lost its copy of the tables has them again from their changelogs, also if it is killed meanwhile."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from rocksdict import Options, Rdict
from tests.integration.insight.conftest import Start
from tests.integration.insight.logbook import ANSWERS, ASKS, Logbook, correlation, until
from tests.integration.insight.traffic import MINUTE
from tests.integration.insight.worker import WorkerProcess

from linkspan.kernel.message import now_micros
from linkspan.kernel.topics import CONVERSATIONS_TABLE, InsightTopics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
OFFSET = b"__faust\0offset__"
EACH = 60
#: A worker that gets a few rows at a time, and is killed when it has written them so often.
KILLED = """
import os, signal
from linkspan.cli.main import main
from linkspan.insight import recovery
from linkspan.insight.shelf import Shelf
recovery._ROWS, keep, kept = 20, Shelf.keep, []
def keep_and_die(*given):
    keep(*given)
    kept.append(given)
    if len(kept) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
Shelf.keep = keep_and_die
main()
"""
#: Table and partition -> rows.
Tables = dict[tuple[str, int], dict[bytes, bytes]]


def changelog_of(log: Logbook, table: str) -> str:
    return InsightTopics.of(log.name).changelog(table)


def names(log: Logbook) -> list[str]:
    topics = InsightTopics.of(log.name)
    return [CONVERSATIONS_TABLE, *(topics.windows(flow) for flow in (ASKS, ANSWERS))]


def copied(data: Path) -> Tables:
    """What no worker has open."""
    found: Tables = {}
    for path in data.glob("**/*.db"):
        table, _, partition = path.name.removesuffix(".db").rpartition("-")
        rows = Rdict(str(path), Options(raw_mode=True))
        found[table, int(partition)] = {key: value for key, value in rows.items() if key != OFFSET}
        rows.close()
    return found


async def logged(log: Logbook) -> Tables:
    return {(name, n): rows for name in names(log) for n, rows in (await log.table(changelog_of(log, name))).items()}


async def shown(worker: WorkerProcess) -> dict[str, float]:
    async with aiohttp.ClientSession() as session, session.get(f"{worker.address}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    counts = (line.rsplit(" ", 1) for line in lines if line.startswith("linkspan_conversations{"))
    return {name: float(count) for name, count in counts if float(count)}


async def settled(log: Logbook) -> None:
    """All that was said is in the changelogs, and nothing more comes: what a worker shows may still be on its way."""
    wanted = dict(zip(names(log), (6 * EACH, 4 * EACH, 2 * EACH), strict=True))
    before: Tables = {}
    async with asyncio.timeout(90):
        while (found := await logged(log)) != before or not covers(found, wanted):
            before = found
            await asyncio.sleep(1)


def covers(tables: Tables, wanted: dict[str, int]) -> bool:
    """Each table has so much of its topic."""
    found = Counter[str]()
    for (name, _), rows in tables.items():
        found[name] += sum(int(value) for key, value in rows.items() if key in (b"\0mentions", b"\0events"))
    return found >= Counter(wanted)


async def say_all(log: Logbook) -> dict[str, int]:
    """Conversations of each state, and how many there are."""
    old = now_micros() - 6 * MINUTE
    kinds = {"waiting": (None, None), "answered": (None, None), "overdue": (old, None), "late": (old, old + 6 * MINUTE)}
    for state, (asked, answered) in kinds.items():
        about = [correlation() for _ in range(EACH)]
        await log.say(ASKS, *((one, None, asked) for one in about))
        if state in ("answered", "late"):
            await log.say(ANSWERS, *((one, None, answered) for one in about))
    return dict.fromkeys(kinds, EACH)


async def commit_a_row(log: Logbook, table: str, key: bytes) -> None:
    """In a transaction, whose marker is no record: the last offset of each partition has nothing to read."""
    async with (
        AIOKafkaProducer(bootstrap_servers=log.bootstrap, transactional_id=log.name) as producer,
        producer.transaction(),
    ):
        for partition in range(log.partitions):
            await producer.send(changelog_of(log, table), b"row", key + b"%d" % partition, partition)


async def test_tables_that_were_lost_are_filled_from_the_changelogs_as_they_were_also_after_kills_in_the_midst(
    log: Logbook, start: Start, tmp_path: Path
) -> None:
    worker = await (await start()).ready()
    wanted = {
        f'linkspan_conversations{{flow="{ASKS}",state="{state}"}}': n for state, n in (await say_all(log)).items()
    }

    async def all_known() -> bool:
        return await shown(worker) == wanted

    await until(all_known, 90)
    await settled(log)
    assert await worker.stop() == 0
    for table in names(log):
        await commit_a_row(log, table, b"committed-")
    before, told = copied(tmp_path / "data"), await log.conversations()
    for (_, partition), rows in before.items():
        rows[b"committed-%d" % partition] = b"row"

    shutil.rmtree(tmp_path / "data")
    for _ in range(2):
        killed = await start("-c", KILLED)
        assert await asyncio.wait_for(killed.process.wait(), 90) == -signal.SIGKILL, killed.lines
        some = sum(len(rows) for rows in copied(tmp_path / "data").values())
        assert 0 < some < sum(len(rows) for rows in before.values())

    worker = await (await start()).ready()
    assert worker.told("tables filled")
    await until(all_known, 30)
    assert await worker.stop() == 0
    assert copied(tmp_path / "data") == before == await logged(log)
    assert await log.conversations() == told, "nothing is told again"
