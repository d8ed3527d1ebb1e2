"""A project of docker-compose.yml as a test has it: fresh, on ports that Docker chooses, gone afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from linkspan.cli.demo.plan_manager_client import PlanManagerClient, plan_manager_client

ROOT = Path(__file__).parents[2]
THREE_BROKERS = ROOT / "deploy/compose/three-brokers.env"
INTEGRATION = "/integration/integration.yaml"
#: What docker-compose.yml says of System A's client.
CLIENT = ("linkspan", "linkspan-development")
PROCESSES = ("ingress-1", "ingress-2", "egress-1", "egress-2", "ledger", "insight", "plan-manager", "analysis")
_PORTS = ("INGRESS_1", "INGRESS_2", "EGRESS", "LEDGER", "INSIGHT", "PLAN_MANAGER", "ANALYSIS", "CONTROL_1", "CONTROL_2")


class PlanManager:
    """What its own API says."""

    def __init__(self, client: PlanManagerClient, session: aiohttp.ClientSession) -> None:
        self._client, self._session = client, session

    async def upload(self, file: Path) -> tuple[str, str]:
        """Plan id and correlation id."""
        plan_id, said = str(uuid.uuid4()), {"identifier": file.stem, "title": file.stem, "category": "other"}
        return plan_id, await self._client.upload(plan_id, file, said)

    async def ended(self, plan_id: str, within: float = 120) -> dict[str, Any]:
        """The plan, once it is analysed or refused."""
        deadline = time.monotonic() + within
        while (plan := await self._client.plan(plan_id))["state"] not in {"analysed", "refused"}:
            assert time.monotonic() < deadline, plan
            await asyncio.sleep(0.3)
        return plan

    async def received(self) -> list[dict[str, Any]]:
        """All deliveries, in the order of their arrival."""
        found: list[dict[str, Any]] = []
        headers = {"Authorization": self._client.authorization}
        while True:
            query = {"after": str(found[-1]["n"] if found else 0), "limit": "10000"}
            async with self._session.get("/v1/received", params=query, headers=headers) as answer:
                items = (await answer.json())["items"]
            if not items:
                return found
            found += items


@dataclass
class ComposeStack:
    """``image`` is that of the processes; ``timings``: seconds of each step that was told."""

    project: str
    image: str
    env_file: Path | None = None
    timings: dict[str, float] = field(default_factory=dict)

    def compose(self, *arguments: str, image: str | None = None, within: float = 300) -> str:
        """What it printed; an AssertionError has that and the errors."""
        done = self.attempt(*arguments, image=image, within=within)
        assert done.returncode == 0, (
            f"docker compose {' '.join(arguments)}:\n{done.stdout[-4000:]}{done.stderr[-6000:]}"
        )
        return done.stdout

    def attempt(
        self, *arguments: str, image: str | None = None, within: float = 300
    ) -> subprocess.CompletedProcess[str]:
        files = ["--env-file", str(self.env_file)] if self.env_file else []
        any_port = {f"LINKSPAN_{name}_PORT": "" for name in (*_PORTS, "JAEGER", "PROMETHEUS")}
        return subprocess.run(
            ["docker", "compose", "--project-name", self.project, "--progress", "plain", *files, *arguments],
            cwd=ROOT,
            env={**os.environ, **any_port, "LINKSPAN_IMAGE": image or self.image},
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )

    def timed(self, what: str, *arguments: str, image: str | None = None) -> str:
        begun = time.monotonic()
        said = self.compose(*arguments, image=image)
        self.timings[what] = time.monotonic() - begun
        return said

    def address(self, service: str, port: int = 8080) -> str:
        """host:port on this machine."""
        return self.compose("port", service, str(port)).strip()

    def url(self, service: str, port: int = 8080) -> str:
        return f"http://{self.address(service, port)}"

    def containers(self) -> dict[str, dict[str, Any]]:
        """What `docker inspect` says of each service's container."""
        ids = self.compose("ps", "--all", "--quiet").split()
        listed = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, check=True).stdout
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in json.loads(listed)}

    def audit(self) -> str:
        """Raises AssertionError where the account is not balanced."""
        return self.compose("run", "--rm", "--no-deps", "-T", "cli", "audit", INTEGRATION)

    @asynccontextmanager
    async def plan_manager(self) -> AsyncIterator[PlanManager]:
        url = await asyncio.to_thread(self.url, "plan-manager")
        async with plan_manager_client(url, *CLIENT) as client, aiohttp.ClientSession(url) as session:
            yield PlanManager(client, session)

    def down(self) -> None:
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")
