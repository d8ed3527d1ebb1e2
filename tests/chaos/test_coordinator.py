"""The group's coordinator is lost for one owner, whose appends and transactions go on (interleavings 27 and 28)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.coordinator_lost import GroupProxy
from tests.chaos.harness import Load, until_quiet
from tests.chaos.nodes import behind
from tests.chaos.receivers import SocketReceiver
from tests.chaos.verdict import Fault, judged, read
from tests.integration.egress.bridge import Bridge, EgressProcess, write_integration
from tests.kafka_fixture import require_embedded

from linkspan.broker.ports import HOST, choose
from linkspan.kernel.topics import partition_of

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(300)]

SESSION = 6.0
#: Until what was sent within the lease has arrived on a busy machine, seconds.
SLACK = 2.0


async def test_an_owner_without_its_coordinator_stops_sending_before_another_one_begins(tmp_path: Path) -> None:
    require_embedded()
    port = choose()
    broker, upstream = behind(tmp_path / "kafka", port)
    proxy = GroupProxy(upstream)
    receiver = SocketReceiver(tmp_path / "b.jsonl", 1, 0.02)
    await receiver.start()
    await asyncio.to_thread(broker.start)
    await proxy.start(port)
    store = {"kind": "websocket", "url": f"ws://{receiver.address}", "retry": {"first": "100ms", "cap": "500ms"}}
    made = Bridge(write_integration(tmp_path, store, partitions=2), broker.bootstrap)
    await made.create_topics()
    session = {"LINKSPAN_SESSION_SECONDS": str(SESSION), "LOG_LEVEL": "debug"}
    cut_off = EgressProcess(made, (), session | {"MESSAGE_QUEUE_URL": f"kafka://{HOST}:{port}"})
    rightful = EgressProcess(made, (), session)
    load = Load(made, 40.0)
    loading = asyncio.create_task(load.run())
    try:
        await cut_off.start()
        assert await until_quiet(lambda: bool(receiver.journal.ids), 30)
        first = read(receiver.file)[0]["connection"]
        await rightful.start()
        assert await until_quiet(lambda: {one["connection"] for one in read(receiver.file)} > {first}, 60)
        await asyncio.sleep(SESSION)
        proxy.lose()
        lost_at = time.time()
        await asyncio.sleep(4 * SESSION)
        found_at = time.time()
        proxy.find()
        await asyncio.sleep(2 * SESSION)
        load.stop()
        await loading
        assert await until_quiet(lambda: len(receiver.journal.ids) == len(load.sent), 60)
    finally:
        loading.cancel()
        for process in (cut_off, rightful):
            await process.kill()
        await proxy.stop()
        broker.kill()
        await receiver.stop()
    arrivals = read(receiver.file)
    silent = [one for one in arrivals if lost_at + SESSION / 3 + SLACK < one["at"] < found_at]
    assert silent
    assert first not in {one["connection"] for one in silent}
    assert {partition_of(one["key"].encode(), 2) for one in silent} == {0, 1}
    judge(arrivals, load, Fault("lost", "coordinator", lost_at, found_at))
    dropped = [line for line in rightful.lines("partition dropped") if "partition" in line]
    assert not dropped, dropped


def judge(arrivals: list[dict[str, Any]], load: Load, fault: Fault) -> None:
    verdict = judged([], arrivals, [fault], after=2 * SESSION)
    assert not verdict.wrong()
    assert {(one["key"], one["line"]) for one in arrivals} == set(load.sent)
    print(f"\n{len(load.sent)} messages, {verdict.repeated} repeated, all marked")
