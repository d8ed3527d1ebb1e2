"""Each page of docs/runbooks mends the incident that it is for, followed word by word."""

import asyncio
import itertools
import json
import shutil
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.broker import EmbeddedKafka
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.spec_file import load_integration
from linkspan.kernel.topic_admin import ensure_topics
from linkspan.kernel.topics import all_topics
from tests.e2e.conftest import Bridge, running, until
from tests.e2e.runbook import Shell, hand_over
from tests.e2e.test_kills import accepted, plan_uploaded, without_plan_files
from tests.integration.egress.mirror import mirror

pytestmark = [pytest.mark.kafka, pytest.mark.incident, pytest.mark.timeout(500)]

KEYS = 5
#: Of a flow, where the integration file says nothing.
PARTITIONS = 8


@asynccontextmanager
async def at_work(folder: Path, **environ: str) -> AsyncIterator[tuple[Bridge, Shell]]:
    """The reference integration, its services started by what a page calls ``$START``."""
    file = without_plan_files(folder)
    async with running(folder, file) as bridge:
        work = folder / "runbook"
        work.mkdir()
        shell = Shell(work, hand_over(bridge.stack, file, work) | {"FLOW": "plan-uploaded"} | environ)
        try:
            for name in ("ingress", "egress", "ledger"):
                await shell.run(f"$START {name}")
            yield bridge, shell
        finally:
            for name in ("ledger", "egress", "ingress"):
                await shell.run(f"$STOP {name}")


async def send(bridge: Bridge, count: int, category: str = "other") -> list[dict[str, Any]]:
    """Of ``KEYS`` plans, one after the other; what was accepted, in order."""
    plans, sent = [str(uuid.uuid4()) for _ in range(KEYS)], []
    for number, plan in zip(range(count), itertools.cycle(plans), strict=False):
        message = plan_uploaded(plan, number)
        message["payload"]["metadata"]["category"] = category
        await accepted(bridge.session, bridge.stack.ports.url("ingress") + "/v1/messages", message)
        sent.append(message)
    return sent


def ids(messages: list[dict[str, Any]]) -> list[str]:
    return [one["header"]["messageId"] for one in messages]


async def arrived(bridge: Bridge, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Once the analysis has all of them: its own record of them, repeats too."""

    async def all_there() -> list[dict[str, Any]] | None:
        record = [one for one in await bridge.received_by_analysis() if one["id"] in {*ids(wanted)}]
        return record if {one["id"] for one in record} == {*ids(wanted)} else None

    return await until(all_there, 120, "the analysis has all messages")


def in_order(record: list[dict[str, Any]], sent: list[dict[str, Any]]) -> bool:
    first = list(dict.fromkeys(one["id"] for one in record))
    for key in {one["payload"]["planId"] for one in sent}:
        of_key = [one["header"]["messageId"] for one in sent if one["payload"]["planId"] == key]
        if [one for one in first if one in of_key] != of_key:
            return False
    return True


async def test_ledger_lost(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (bridge, shell):
        sent = await send(bridge, 20)
        await arrived(bridge, sent)
        await shell.run("kill -9 $(cat ledger.pid)")
        damage(tmp_path)
        await shell.follow("ledger-lost.md")
        known = json.loads(await shell.run("linkspan messages --limit 100 -o json"))["messages"]
        assert {*ids(sent)} <= {one["message_id"] for one in known}
        record = await bridge.received_by_analysis()
        assert len(record) == len(sent), "folding anew delivers nothing"


def damage(folder: Path) -> None:
    (database,) = folder.glob("ledger-*.db")
    database.write_bytes(b"not a database any more" * 1000)


async def test_poison_flood(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (bridge, shell):
        mended = tmp_path / "mended.yaml"
        spec = yaml.safe_load((tmp_path / "integration.yaml").read_text())
        spec["values"]["plan-type"]["garden"] = "GAR"
        mended.write_text(yaml.safe_dump(spec, sort_keys=False))
        flood = await send(bridge, 20, category="garden")
        good = await send(bridge, 10)
        await arrived(bridge, good)
        await until(lambda: held(shell, KEYS), 60, "the flood is there")
        await shell.run(f"MENDED={mended}")
        await shell.follow("poison-flood.md")
        record = await arrived(bridge, flood + good)
        assert in_order(record, flood)
        assert [one["result"] for one in record] == ["queued"] * 30, "each came once"


async def held(shell: Shell, keys: int, *, more: bool = False) -> bool:
    """``more``: or more of them."""
    (flow,) = json.loads(await shell.run("linkspan status --flow $FLOW -o json"))["flows"]
    return bool(flow["held_keys"] == keys or (more and flow["held_keys"] > keys))


async def message_ids(bootstrap: str, topic: str, partitions: int) -> set[str]:
    found: set[str] = set()
    reader = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await reader.start()
    try:
        for number in range(partitions):
            tp = TopicPartition(topic, number)
            await read_all(reader, tp, 0, None, lambda one: found.add(dict(one.headers)["message-id"].decode()))
    finally:
        await reader.stop()
    return found


async def test_kafka_restored(tmp_path: Path, own_broker: Callable[..., EmbeddedKafka]) -> None:
    async with at_work(tmp_path) as (bridge, shell):
        sent = await send(bridge, 20)
        await arrived(bridge, sent)
        poison = await send(bridge, 5, category="garden")
        await until(lambda: held(shell, KEYS), 60, "keys are held")
        await shell.run("$STOP egress")
        backlog = await send(bridge, 10)
        restored = await asyncio.to_thread(own_broker)
        cut = {"events": 1, "outcomes": 2, "parked": 1, "state": 3}

        async def copied() -> None:
            """All is stopped: the mirror is as far as it came."""
            spec = load_integration(tmp_path / "integration.yaml", bridge.stack.environment)
            await ensure_topics(restored.bootstrap, spec)
            kept = {one.name: one.partitions for one in all_topics(spec) if not one.name.startswith("linkspan-")}
            kept.pop("plans.status")
            await mirror(bridge.bootstrap, restored.bootstrap, kept, cut)
            bridge.stack.running["broker"].kill()
            await shell.run(f"MESSAGE_QUEUE_URL=kafka://{restored.bootstrap}")

        await shell.follow("kafka-restored.md", {1: copied})
        said = (shell.folder / "lost.txt").read_text().splitlines()
        lost = {line.split()[-1] for line in said if line.startswith("plan-uploaded")}
        before = await bridge.received_by_analysis()
        missing = {*ids(backlog)} - {one["id"] for one in before}
        assert lost <= {*ids(sent + poison + backlog)}
        assert len(missing) <= PARTITIONS, "what the mirror had not: one event of each partition"
        later = await send(bridge, 10)
        record = await arrived(bridge, later)
        assert in_order(record, later)
        left = {*ids(poison)} & await message_ids(restored.bootstrap, "plans.plan-uploaded.events", PARTITIONS)
        await until(lambda: held(shell, len(left), more=True), 60, "what is left of held keys is held still")
        seen: set[str] = set()
        for one in await bridge.received_by_analysis():
            assert one["result"] == ("repeat" if one["id"] in seen else "queued")
            seen.add(one["id"])


async def test_destination_lost_data(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (bridge, shell):
        kept = await send(bridge, 10)
        await arrived(bridge, kept)
        analysis = Restarted(bridge, "analysis")
        await analysis.during(lambda: shutil.copytree(analysis.data, tmp_path / "backup"))
        since = datetime.now(UTC)
        lost = await send(bridge, 15)
        await arrived(bridge, lost)
        until_then = datetime.now(UTC)
        await analysis.during(lambda: analysis.restore(tmp_path / "backup"))
        newer = [again(lost[-1])]
        await accepted(bridge.session, bridge.stack.ports.url("ingress") + "/v1/messages", newer[0])
        await arrived(bridge, newer)
        assert not {*ids(lost)} & {one["id"] for one in await bridge.received_by_analysis()}
        await shell.run(f"SINCE={since.isoformat()} UNTIL={until_then.isoformat()}")
        await shell.follow("destination-lost-data.md")
        plan = lost[-1]["payload"]["planId"]
        wanted = [one for one in lost if one["payload"]["planId"] != plan]
        record = await arrived(bridge, wanted)
        assert in_order(record, wanted)
        assert [one["result"] for one in record] == ["queued"] * len(wanted), "each came once"
        covered = {*ids(lost)} - {*ids(wanted)}
        assert not covered & {one["id"] for one in await bridge.received_by_analysis()}, "a newer one is there"


async def test_bad_mapping(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (bridge, shell):
        file, mended = tmp_path / "integration.yaml", tmp_path / "mended.yaml"
        mended.write_text(file.read_text())
        spec = yaml.safe_load(file.read_text())
        (step,) = [one for one in spec["flows"]["plan-uploaded"]["transform"] if "jsonata" in one]
        step["jsonata"] = step["jsonata"].replace('"name": metadata.title', '"name": "title"')
        file.write_text(yaml.safe_dump(spec, sort_keys=False))
        assert file.read_text() != mended.read_text()
        await shell.run("$STOP egress\n$START egress")
        bad = await send(bridge, 15)
        await arrived(bridge, bad)
        await until(lambda: known(shell, bad[0]), 60, "the ledger knows of it")
        await shell.run(f"MENDED={mended} BAD={ids(bad)[0]}")
        await shell.follow("bad-mapping.md")
        titles = {one["payload"]["planId"]: one["payload"]["metadata"]["title"] for one in bad}
        assert titles.items() <= stored_titles(Restarted(bridge, "analysis").data).items()
        record = [one for one in await bridge.received_by_analysis() if one["id"] in {*ids(bad)}]
        unmarked = [one for one in record if one["result"] != "queued" and not one["redelivery"]]
        assert not unmarked, "what comes again is new, or marked"
        kept = [one for one in record if one["result"] == "queued"]
        assert len(kept) == 2 * len(bad), "once then, and once by the mended mapping"
        assert in_order([one for one in kept if one["replay"]], bad)


async def known(shell: Shell, message: dict[str, Any]) -> bool:
    said = await shell.run(f"linkspan message {message['header']['messageId']} -o json || echo '{{}}'")
    return '"delivered"' in said


def again(message: dict[str, Any]) -> dict[str, Any]:
    """Another message of the same plan."""
    return plan_uploaded(message["payload"]["planId"], 999)


class Restarted:
    """A reference system that is stopped for a moment. ``data``: its folder."""

    def __init__(self, bridge: Bridge, service: str) -> None:
        self._stack, self._service = bridge.stack, service
        self.data = bridge.stack.directory / service

    async def during(self, work: Callable[[], object]) -> None:
        process = self._stack.running[self._service]
        process.terminate()
        await asyncio.to_thread(process.wait, 30)
        work()
        self._stack.start(self._service, "--data-dir", str(self.data.absolute()))
        await self._stack.ready(self._service)

    def restore(self, backup: Path) -> None:
        shutil.rmtree(self.data)
        shutil.copytree(backup, self.data)


def stored_titles(data: Path) -> dict[str, str]:
    """Title of the newest item of each plan, as the analysis has it."""
    (file,) = data.glob("analysis.sqlite")
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT plan_id, body FROM items ORDER BY sequence").fetchall()
    return {plan: json.loads(body)["payload"]["attributes"]["name"] for plan, body in rows}
