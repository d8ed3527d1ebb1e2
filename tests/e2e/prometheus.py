"""A real Prometheus that scrapes the processes of a bridge and judges the rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from linkspan.broker.ports import choose
from linkspan.cli.demo.stack import HOST
from linkspan.cli.observe.alerts import rules_file
from linkspan.cli.observe.thresholds import Thresholds
from tests.e2e.conftest import Bridge, until
from tests.prometheus_tools import prometheus_tool

OURS = ("ingress", "egress", "ledger")
OTHERS = ("plan-manager", "analysis")
#: Five minutes are ten seconds.
PACE = 1 / 30


class Prometheus:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def ask(self, path: str, **query: str) -> Any:
        async with self._session.get(f"{self._url}/api/v1/{path}", params=query) as answer:
            body = await answer.json()
        assert body["status"] == "success", body
        return body["data"]

    async def ready(self) -> bool:
        try:
            async with self._session.get(f"{self._url}/-/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def up(self) -> set[str]:
        """Jobs that are scraped and answer."""
        found = await self.ask("query", query="up == 1")
        return {one["metric"]["job"] for one in found["result"]}

    async def firing(self) -> set[tuple[str, str]]:
        """Names of alerts, with the flow or what else it is about."""
        alerts = (await self.ask("alerts"))["alerts"]
        fires = [one["labels"] for one in alerts if one["state"] == "firing"]
        return {(one["alertname"], one.get("to") or one.get("flow") or one.get("job", "")) for one in fires}

    async def until_firing(self, alert: tuple[str, str], fires: bool, within: float) -> None:
        async def asked() -> bool:
            return (alert in await self.firing()) is fires

        await until(asked, within, f"{alert} {'fires' if fires else 'is over'}")


def configuration(bridge: Bridge) -> dict[str, Any]:
    jobs = [(f"linkspan-{service}", service) for service in OURS] + [(service, service) for service in OTHERS]
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["linkspan.rules.yml"],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"{HOST}:{bridge.stack.ports.by_service[service]}"]}]}
            for job, service in jobs
        ],
    }


@asynccontextmanager
async def prometheus(folder: Path, bridge: Bridge) -> AsyncIterator[Prometheus]:
    tool = prometheus_tool("prometheus")
    (folder / "linkspan.rules.yml").write_text(rules_file(Thresholds(hours="never", pace=PACE)))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration(bridge)))
    port = choose()
    process = await asyncio.create_subprocess_exec(
        tool,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address={HOST}:{port}",
        "--enable-feature=exemplar-storage",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=(folder / "prometheus.log").open("wb"),
    )
    try:
        async with aiohttp.ClientSession() as session:
            made = Prometheus(session, f"http://{HOST}:{port}")
            await until(made.ready, 60, "Prometheus is ready")
            yield made
    finally:
        process.terminate()
        await process.wait()
