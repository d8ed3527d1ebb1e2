"""What the demo asks of the plan manager, over its public API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from linkspan.kernel.tls.trusted import client_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class PlanManagerClient:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @property
    def authorization(self) -> str:
        """What it sends as ``Authorization``."""
        return self._session.headers["Authorization"]

    async def upload(self, plan_id: str, file: Path, said: Mapping[str, str]) -> str:
        """The correlation id."""
        content = await asyncio.to_thread(file.read_bytes)
        async with self._session.put(
            f"/v1/plans/{plan_id}",
            params={**said, "fileName": file.name},
            data=content,
        ) as answer:
            answer.raise_for_status()
            return answer.headers["X-Correlation-ID"]

    async def plan(self, plan_id: str) -> dict[str, Any]:
        async with self._session.get(f"/v1/plans/{plan_id}") as answer:
            answer.raise_for_status()
            found: dict[str, Any] = await answer.json()
            return found


@asynccontextmanager
async def plan_manager_client(url: str, client_id: str, client_secret: str) -> AsyncIterator[PlanManagerClient]:
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(ssl=client_context())) as session:
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        async with session.post("/oauth/token", data=form) as answer:
            answer.raise_for_status()
            token = (await answer.json())["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        yield PlanManagerClient(session)
