"""The pages of docs/runbooks that go back to the archive, followed word by word."""

import asyncio
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from linkspan.broker import EmbeddedKafka
from tests.e2e.conftest import until
from tests.e2e.runbook import blocks
from tests.e2e.test_kills import accepted
from tests.e2e.test_runbooks import (
    KEYS,
    PARTITIONS,
    Restarted,
    arrived,
    at_work,
    held,
    ids,
    in_order,
    known,
    send,
)

pytestmark = [pytest.mark.kafka, pytest.mark.incident, pytest.mark.timeout(900)]
EVENTS = "plans.plan-uploaded.events"


def block_with(page: str, words: str) -> int:
    """The number of the one block that has these words: where a step begins that another page goes on with."""
    (found,) = [number for number, block in enumerate(blocks(page)) if words in block]
    return found


async def test_kafka_lost(tmp_path: Path, own_broker: Callable[..., EmbeddedKafka]) -> None:
    async with at_work(tmp_path, LINKSPAN_ARCHIVE=str(tmp_path / "kept")) as (bridge, shell):
        sent = await send(bridge, 20)
        await arrived(bridge, sent)
        await send(bridge, 5, category="garden")
        await until(lambda: held(shell, KEYS), 60, "keys are held")
        await shell.run("$STOP egress")
        backlog = await send(bridge, 10)
        await shell.run('linkspan archive run "$INTEGRATION" --once\n$START egress')
        late = await send(bridge, 5)
        await arrived(bridge, backlog + late)
        before = await bridge.received_by_analysis()
        await asyncio.to_thread(bridge.stack.running["broker"].kill)
        empty = await asyncio.to_thread(own_broker)
        await shell.run(f"MESSAGE_QUEUE_URL=kafka://{empty.bootstrap} SKIP=50")
        page = "kafka-restored.md"

        async def goes_on() -> None:
            await shell.follow(page, start=block_with(page, "tee restored.txt"))

        await shell.follow("kafka-lost.md", {block_with("kafka-lost.md", "archive run"): goes_on})
        assert "was not archived" in (shell.folder / "restore.txt").read_text()
        for one in late:
            await accepted(bridge.session, bridge.stack.ports.url("ingress") + "/v1/messages", one)
        later = await send(bridge, 10)
        record = await arrived(bridge, later)
        assert in_order(record, later)
        await until(lambda: held(shell, KEYS), 60, "what is held is held still")
        again = (await bridge.received_by_analysis())[len(before) :]
        repeated = {one["id"] for one in again if one["redelivery"]}
        assert {*ids(backlog)} <= repeated, "its outcomes were lost with Kafka"
        came = {one["id"] for one in again}
        assert came == {*ids(backlog + late + later)}, "the outcomes of the others were archived"
        assert all((one["result"] == "repeat") == (one["id"] not in ids(later)) for one in again)


async def test_older_than_retention(tmp_path: Path) -> None:
    async with at_work(tmp_path, LINKSPAN_ARCHIVE=str(tmp_path / "kept")) as (bridge, shell):
        analysis = Restarted(bridge, "analysis")
        await analysis.during(lambda: shutil.copytree(analysis.data, tmp_path / "backup"))
        since = datetime.now(UTC)
        lost = await send(bridge, 15)
        await arrived(bridge, lost)
        until_then = datetime.now(UTC)
        await until(lambda: known(shell, lost[-1]), 60, "the ledger knows of it")
        await shell.run('linkspan archive run "$INTEGRATION" --once')
        await forget(bridge.bootstrap)
        await analysis.during(lambda: analysis.restore(tmp_path / "backup"))
        newer = await send(bridge, 5)
        await arrived(bridge, newer)
        assert not {*ids(lost)} & {one["id"] for one in await bridge.received_by_analysis()}
        await shell.run(f"SINCE={since.isoformat()} UNTIL={until_then.isoformat()}")
        await shell.follow("older-than-retention.md")
        page = "destination-lost-data.md"
        await shell.follow(page, start=block_with(page, "--dry-run"))
        record = await arrived(bridge, lost)
        assert in_order(record, lost)
        assert [one["result"] for one in record] == ["queued"] * len(lost), "each came once"


async def forget(bootstrap: str) -> None:
    """As retention does with all events so far."""
    partitions = [TopicPartition(EVENTS, number) for number in range(PARTITIONS)]
    reader = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await asyncio.gather(reader.start(), admin.start())
    try:
        ends = await reader.end_offsets(partitions)
        await admin.delete_records({tp: RecordsToDelete(before_offset=end) for tp, end in ends.items() if end})
    finally:
        await asyncio.gather(reader.stop(), admin.close())
