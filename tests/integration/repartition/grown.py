"""A flow, the file in which another one takes its place, and the command."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import yaml
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.integration.cli.operator import Done, Operator
from tests.integration.egress.bridge import FLOW, Bridge

from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.topics import FlowTopics

GROWN = "orders-wide"


def grown(old: Bridge, partitions: int, name: str = GROWN, source: str = FLOW, **more: Any) -> Bridge:
    """The same integration in a file in which another flow takes the place of the only one."""
    said = yaml.safe_load(old.path.read_text())
    (flow,) = said["flows"].values()
    said["flows"] = {name: flow | {"partitions": partitions, "copied_from": source} | more}
    said["conversation_partitions"] = said.get("conversation_partitions") or old.partitions
    path = old.path.with_name(f"{name}.yaml")
    path.write_text(yaml.safe_dump(said))
    return Bridge(path, old.bootstrap, name)


def at(made: Bridge, **more: str) -> Operator:
    return Operator(made, "127.0.0.1:9", more=more)


async def repartition(made: Bridge, *arguments: str) -> Done:
    """Once none of an egress that has stopped is in its group any more, which can take a session."""
    async with asyncio.timeout(60):
        while "members: stop egress" in (done := await asked(made, *arguments)).out:  # noqa: ASYNC110 - Kafka tells it
            await asyncio.sleep(1)
    return done


async def asked(made: Bridge, *arguments: str) -> Done:
    return await at(made)("repartition", made.flow, str(made.path), "-o", "json", *arguments)


async def copied(made: Bridge) -> dict[str, Any]:
    done = await repartition(made, "--write", "--yes", "--reason", "more of them")
    assert done.code == 0, done
    found: dict[str, Any] = json.loads(done.out)
    assert found["copied"], found
    return found


async def audited(made: Bridge, flow: str) -> dict[str, Any]:
    """Of what is not 0."""
    done = await at(made)("audit", str(made.path), "--output", "json")
    found: dict[str, Any] = json.loads(done.out)["flows"][flow]
    return {name: value for name, value in found.items() if value}


async def killed_after(made: Bridge, records: int) -> int:
    """The command as a process of its own, killed when the copy has so many events; its exit code."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "linkspan", "repartition", made.flow, str(made.path)),
        *("--write", "--yes", "--reason", "to be killed"),
        env=os.environ | {"MESSAGE_QUEUE_URL": f"kafka://{made.bootstrap}", "LINKSPAN_PLAIN_TEXT": "development"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    reader = AIOKafkaConsumer(bootstrap_servers=made.bootstrap)
    await reader.start()
    try:
        while process.returncode is None:
            if made.topics.events in await reader.topics() and await _held(reader, made) >= records:
                process.kill()
                break
            await asyncio.sleep(0.005)
    finally:
        await reader.stop()
    return await process.wait()


async def _held(reader: AIOKafkaConsumer, made: Bridge) -> int:
    tps = [TopicPartition(made.topics.events, number) for number in range(made.partitions)]
    firsts, ends = await reader.beginning_offsets(tps), await reader.end_offsets(tps)
    return sum(ends[tp] - firsts[tp] for tp in tps if firsts[tp])


async def log(made: Bridge, topics: FlowTopics, partitions: int, what: str = "events") -> list[list[Any]]:
    """The records of each partition."""
    found: list[list[Any]] = [[] for _ in range(partitions)]
    reader = AIOKafkaConsumer(bootstrap_servers=made.bootstrap, auto_offset_reset="earliest")
    await reader.start()
    try:
        for number in range(partitions):
            await read_all(reader, TopicPartition(getattr(topics, what), number), 0, None, found[number].append)
    finally:
        await reader.stop()
    return found
