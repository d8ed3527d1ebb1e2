"""Fixtures: the reference systems, running; one of each for all tests, because a start takes seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import aiohttp
import pytest
from tests.integration.reference.reference_service import SECRET, Service, running

from linkspan.broker.ports import choose

A = ("linkspan.reference.plan_manager.main", "plan_manager")
B = ("linkspan.reference.analysis.main", "analysis")


@pytest.fixture(scope="session")
def ingress_port() -> int:
    return choose()


@pytest.fixture(scope="session")
def plan_manager(tmp_path_factory: pytest.TempPathFactory, ingress_port: int) -> Iterator[Service]:
    options = ["--ingress-url", f"http://127.0.0.1:{ingress_port}"]
    with running(Service(*A, tmp_path_factory.mktemp("a") / "data", options)) as service:
        yield service


@pytest.fixture
def forgetful_plan_manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Its tokens are good for one second."""
    with running(Service(*A, tmp_path_factory.mktemp("a") / "data", ["--token-lifetime", "1"])) as service:
        yield service


@pytest.fixture(scope="session")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    options = ["--resend-after", "1", "--queue-bound", "3000"]
    with running(Service(*B, tmp_path_factory.mktemp("b") / "data", options)) as service:
        yield service


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as opened:
        yield opened


@pytest.fixture
def token(session: aiohttp.ClientSession) -> Callable[..., Awaitable[dict[str, str]]]:
    """The Authorization header for a plan manager."""

    async def ask(service: Service, **more: str) -> dict[str, str]:
        form = {"grant_type": "client_credentials", "client_id": "linkspan", "client_secret": SECRET, **more}
        async with session.post(f"{service.url}/oauth/token", data=form) as response:
            assert response.status == 200, await response.text()
            return {"Authorization": f"Bearer {(await response.json())['access_token']}"}

    return ask
