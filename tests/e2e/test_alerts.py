"""A real Prometheus sees all processes, wakes somebody when System B is away, and is quiet when it is back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from linkspan.reference.plans.floor_plan import write_floor_plan
from tests.e2e.conftest import Bridge, until
from tests.e2e.prometheus import OTHERS, OURS, Prometheus, prometheus
from tests.prometheus_tools import prometheus_tool

pytestmark = [pytest.mark.kafka, pytest.mark.incident, pytest.mark.timeout(300)]

AWAY = ("LinkspanBreakerOpen", "plan-uploaded")
OLD = ("LinkspanOldestUndelivered", "plan-uploaded")


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    prometheus_tool("prometheus")


async def test_alerts_fire_while_system_b_is_stopped_and_are_over_when_it_is_back(
    tmp_path: Path, bridge: Bridge
) -> None:
    plan = tmp_path / "floor.dxf"
    write_floor_plan(plan)
    async with prometheus(tmp_path, bridge) as watching:
        await all_scraped(watching)
        first, _ = await bridge.upload(plan)
        await bridge.end_of(first, 120)
        await traces_are_beside_latencies(watching)
        for alert in (AWAY, OLD):  # the first plan may have taken long
            await watching.until_firing(alert, fires=False, within=30)

        stack = bridge.stack
        stack.running["analysis"].terminate()
        stack.running["analysis"].wait()
        waiting, _ = await bridge.upload(plan)
        await watching.until_firing(AWAY, fires=True, within=60)
        await watching.until_firing(OLD, fires=True, within=60)
        (alert,) = [one for one in (await watching.ask("alerts"))["alerts"] if one["labels"]["alertname"] == AWAY[0]]
        assert alert["annotations"]["summary"] == "analysis is away"
        assert alert["annotations"]["runbook"] == "docs/runbooks/alerts.md#linkspanbreakeropen"

        stack.start("analysis", "--data-dir", str(stack.directory.absolute() / "analysis"))
        await stack.ready("analysis")
        await watching.until_firing(AWAY, fires=False, within=90)
        await watching.until_firing(OLD, fires=False, within=90)
        assert (await bridge.end_of(waiting, 120))["state"] == "analysed"


async def all_scraped(watching: Prometheus) -> None:
    jobs = {f"linkspan-{service}" for service in OURS} | set(OTHERS)

    async def scraped() -> bool:
        return await watching.up() == jobs

    await until(scraped, 60, "all processes are scraped")


async def traces_are_beside_latencies(watching: Prometheus) -> None:
    async def exemplars() -> list[dict[str, Any]]:
        query = {"query": "linkspan_end_to_end_seconds_bucket", "start": "0", "end": "9999999999"}
        found: list[dict[str, Any]] = await watching.ask("query_exemplars", **query)
        return [one for series in found for one in series["exemplars"]]

    found = await until(exemplars, 30, "a latency has an exemplar")
    assert all(re.fullmatch("[0-9a-f]{32}", one["labels"]["trace_id"]) for one in found)
