"""The whole reference integration as real processes, for tests that look at it from outside."""

import asyncio
import os
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest

from linkspan import reference
from linkspan.cli.demo.plan_manager_client import PlanManagerClient, plan_manager_client
from linkspan.cli.demo.stack import HOST, Ports, Stack
from linkspan.cli.demo.start import start_all
from linkspan.kernel.errors import UserMistake
from tests.conftest import NUMBER, WORKERS
from tests.kafka_fixture import require_embedded

INTEGRATION = Path(reference.__file__).parent / "integration.yaml"


class Bridge:
    """A running integration and what a test asks of it."""

    def __init__(self, stack: Stack, plans: PlanManagerClient, session: aiohttp.ClientSession) -> None:
        self.stack, self.plans, self.session = stack, plans, session

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.stack.ports.kafka}"

    async def upload(self, file: Path, category: str = "other") -> tuple[str, str]:
        """Plan id and correlation id."""
        plan_id = str(uuid.uuid4())
        said = {"identifier": file.stem[:60], "title": file.name, "category": category}
        return plan_id, await self.plans.upload(plan_id, file, said)

    async def end_of(self, plan_id: str, within: float = 90) -> dict[str, Any]:
        """The plan once it is analysed or refused."""

        async def ended() -> dict[str, Any] | None:
            plan = await self.plans.plan(plan_id)
            return plan if plan["state"] in {"analysed", "refused"} else None

        return await until(ended, within, f"plan {plan_id} is analysed or refused")

    async def page(self, plan_id: str) -> str:
        async with self.session.get(self.stack.ports.url("plan-manager") + f"/plans/{plan_id}") as answer:
            assert answer.status == 200
            return await answer.text()

    async def received_by_analysis(self) -> list[dict[str, Any]]:
        return await self._received("analysis", {"X-API-Key": self.stack.secrets["secret"]})

    async def received_by_plan_manager(self) -> list[dict[str, Any]]:
        return await self._received("plan-manager", {"Authorization": self.plans.authorization})

    async def _received(self, service: str, headers: Mapping[str, str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            query = {"after": str(found[-1]["n"] if found else 0), "limit": "1000"}
            url = self.stack.ports.url(service) + "/v1/received"
            async with self.session.get(url, params=query, headers=headers) as answer:
                items = (await answer.json())["items"]
            if not items:
                return found
            found += items


T = TypeVar("T")


async def until(ask: Callable[[], Awaitable[T | None]], within: float, what: str) -> T:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        found = await ask()
        if found:
            return found
        await asyncio.sleep(0.2)
    raise AssertionError(f"not within {within} s: {what}")


def free_ports() -> Ports:
    """Below those that anything else chooses, and no other worker's: they stay free until the processes listen."""
    chance = random.SystemRandom()
    part = 5_000 // WORKERS
    while True:
        first = 10_000 + part * NUMBER + 12 * chance.randrange(part // 12)
        ports = Ports(first, first + 8)
        try:
            ports.check_free()
        except UserMistake:
            continue
        return ports


def sender(stack: Stack) -> dict[str, str]:
    """The header with which ingress takes messages."""
    return {"X-API-Key": stack.api_key_file.read_text().strip()}


@asynccontextmanager
async def running(directory: Path, integration: Path = INTEGRATION) -> AsyncIterator[Bridge]:
    require_embedded()
    stack = Stack(directory, free_ports())
    try:
        await start_all(stack, integration, lambda _text: None)
        url = stack.ports.url("plan-manager")
        async with (
            plan_manager_client(url, stack.secrets["id"], stack.secrets["secret"]) as plans,
            aiohttp.ClientSession(headers=sender(stack)) as session,
        ):
            yield Bridge(stack, plans, session)
    finally:
        stack.stop()


@pytest.fixture
async def bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    async with running(tmp_path) as made:
        yield made


@pytest.fixture
def shared_plans() -> Path:
    folder = Path(os.environ.get("LINKSPAN_SHARED") or Path(__file__).parents[3] / "shared") / "plans"
    if not folder.is_dir():
        pytest.skip(f"needs the real plan files of {folder}; set LINKSPAN_SHARED")
    return folder
