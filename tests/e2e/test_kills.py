"""kill -9 in the middle of traffic: nothing is lost, order per key holds, repeats are only of what was in flight."""

import asyncio
import itertools
import json
import random
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.e2e.conftest import INTEGRATION, Bridge, running, sender, until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

MESSAGES, KEYS = 200, 10
IN_FLIGHT_PER_KILL = KEYS  # one of each key at most: a lane delivers one at a time


def without_plan_files(directory: Path) -> Path:
    """The reference integration, but for the step that opens plan files: two hundred would take minutes."""
    spec: dict[str, Any] = yaml.safe_load(INTEGRATION.read_text())
    flow = spec["flows"]["plan-uploaded"]
    flow["transform"] = [
        {
            "jsonata": """{
              "id": metadata.identifier, "planId": planId, "type": $value("plan-type", metadata.category),
              "attributes": {"name": metadata.title}, "materials": [], "partial": false, "reasons": [],
              "dimensions": {"format": "DXF", "schema": "AC1027", "unitConfidence": "unknown", "counts": {}}
            }"""
        }
    ]
    for part in spec["flows"].values():
        part.pop("examples")
    spec["systems"]["plan-manager"]["throttle"] = {"concurrency": 16}
    file = directory / "integration.yaml"
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    return file


async def test_200_messages_survive_kill_9_of_ingress_egress_and_the_broker(tmp_path: Path) -> None:
    async with running(tmp_path, without_plan_files(tmp_path)) as bridge:
        keys = [str(uuid.uuid4()) for _ in range(KEYS)]
        sent: dict[str, list[str]] = {key: [] for key in keys}
        killing = asyncio.create_task(kill_each(bridge, sent))
        await asyncio.gather(*(send_in_order(bridge, key, sent[key]) for key in keys))
        await killing
        repeats = await all_delivered(bridge, sent)
        assert repeats <= 3 * IN_FLIGHT_PER_KILL
        await all_answered(bridge, sent)
        await balanced(bridge)


async def balanced(bridge: Bridge) -> None:
    """What the log itself says: every message of both flows delivered, and few recorded twice."""
    file = bridge.stack.directory / "integration.yaml"

    async def audited() -> dict[str, Any] | None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "linkspan", "audit", str(file), "--output", "json"),
            env=bridge.stack.environment,
            stdout=asyncio.subprocess.PIPE,
        )
        said = json.loads((await process.communicate())[0])
        assert (process.returncode, said["unaccounted"]) == (0, [])
        flows: dict[str, Any] = said["flows"]
        return flows if not any(flow["in_flight"] for flow in flows.values()) else None

    flows = await until(audited, 60, "every outcome is recorded")
    for flow in flows.values():
        found = {name: count for name, count in flow.items() if count and name not in ("balanced", "repeats")}
        again = found["accepted"] - MESSAGES  # accepted, its 202 cut off by a kill, and sent once more
        assert 0 <= again <= 3 * IN_FLIGHT_PER_KILL
        duplicates = found.pop("duplicate", 0)
        assert duplicates <= again
        assert found == {"accepted": MESSAGES + again, "delivered": MESSAGES + again - duplicates}
        assert flow["repeats"] <= 3 * IN_FLIGHT_PER_KILL


async def send_in_order(bridge: Bridge, key: str, sent: list[str]) -> None:
    """One message after the other, each until it is accepted, with the same id."""
    async with aiohttp.ClientSession(headers=sender(bridge.stack)) as session:
        for number in range(MESSAGES // KEYS):
            message = plan_uploaded(key, number)
            await accepted(session, bridge.stack.ports.url("ingress") + "/v1/messages", message)
            sent.append(message["header"]["messageId"])
            await asyncio.sleep(random.uniform(0.05, 0.35))


async def accepted(session: aiohttp.ClientSession, url: str, message: dict[str, Any]) -> None:
    for _ in range(600):
        try:
            async with session.post(url, json=message, timeout=aiohttp.ClientTimeout(total=30)) as answer:
                if answer.status == 202:
                    return
                assert answer.status == 503, await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            pass
        await asyncio.sleep(0.2)
    raise AssertionError("never accepted")


async def kill_each(bridge: Bridge, sent: dict[str, list[str]]) -> None:
    stack = bridge.stack
    restart = {
        "ingress": (str(stack.directory / "integration.yaml"),),
        "egress": (str(stack.directory / "integration.yaml"),),
        "broker": ("--data-dir", str(stack.directory / "kafka")),
    }
    for share, (service, arguments) in zip((0.15, 0.4, 0.65), restart.items(), strict=True):
        await until(lambda share=share: enough(sent, share), 120, f"{share:.0%} are accepted")
        stack.running[service].kill()
        stack.running[service].wait()
        await asyncio.sleep(1)
        stack.start(service, *arguments)
        await stack.ready(service)


async def enough(sent: dict[str, list[str]], share: float) -> bool:
    return sum(map(len, sent.values())) >= share * MESSAGES


async def all_delivered(bridge: Bridge, sent: dict[str, list[str]]) -> int:
    """Every message once in the other system's own record, in order; the number of repeats that it saw."""

    async def everything() -> list[dict[str, Any]] | None:
        items = await bridge.received_by_analysis()
        return items if len({item["id"] for item in items}) >= MESSAGES else None

    record = await until(everything, 120, "all messages are delivered")
    for key, ids in sent.items():
        arrived = [item["id"] for item in record if item["key"] == key]
        assert list(dict.fromkeys(arrived)) == ids
    results = Counter(item["result"] for item in record)
    assert results.keys() <= {"queued", "repeat"}
    assert results["queued"] == MESSAGES
    return results["repeat"]


async def all_answered(bridge: Bridge, sent: dict[str, list[str]]) -> None:
    """Each message's analysis reaches the plan manager, in order of the requests of a plan."""

    async def everything() -> list[dict[str, Any]] | None:
        items = [item for item in await bridge.received_by_plan_manager() if item["result"] == "stored"]
        return items if len(items) >= MESSAGES else None

    record = await until(everything, 120, "all answers are back")
    correlated = list(itertools.chain(*sent.values()))
    assert Counter(item["correlationId"] for item in record) == Counter(correlated)
    for key, ids in sent.items():
        assert [item["correlationId"] for item in record if item["key"] == key] == ids


def plan_uploaded(plan_id: str, number: int) -> dict[str, Any]:
    message_id = str(uuid.uuid4())
    return {
        "header": {"messageId": message_id, "source": "plan-manager", "type": "PlanUploaded"},
        "payload": {
            "planId": plan_id,
            "metadata": {
                "identifier": f"{plan_id[:8]}-{number}",
                "title": f"revision {number}",
                "summary": None,
                "category": "other",
                "fileName": "plan.dxf",
                "mediaType": "image/vnd.dxf",
                "relationships": [],
            },
            "content": "MA==",
        },
        "metadata": {"correlationId": message_id},
    }
