"""The database comes and goes, workers come and are killed: nothing is lost, and nothing counts twice."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from tests.database_fixture import Postgres
from tests.integration.ledger.conftest import MakeSite
from tests.integration.ledger.site import PATIENCE, LedgerProcess, Site, eventually

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]


async def health(ledger: LedgerProcess) -> tuple[int, dict[str, object]]:
    async with aiohttp.ClientSession() as session, session.get(f"{ledger.address}/health") as answer:
        return answer.status, await answer.json()


async def says(ledger: LedgerProcess, status: int) -> None:
    async def there() -> bool:
        return (await health(ledger))[0] == status

    await eventually(there, PATIENCE, lambda: f"/health is not {status}")


@pytest.mark.timeout(300)
async def test_postgres_stops_and_starts_under_load_and_the_ledger_catches_up(
    site: MakeSite, own_postgres: Postgres, request: pytest.FixtureRequest
) -> None:
    if "sqlite" in request.node.name:
        pytest.skip("has a server of its own")
    made = await site(own_postgres.url())
    async with made.ledger() as ledger:
        await made.traffic(300)
        await made.settled({"delivered": 300})
        sending = asyncio.create_task(traffic(made, 6))
        await asyncio.to_thread(own_postgres.stop)
        await says(ledger, 503)
        _, said = await health(ledger)
        assert said["checks"]["messageQueue"] == {"healthy": True}  # type: ignore[index]
        assert not said["checks"]["database"]["healthy"]  # type: ignore[index]
        await asyncio.to_thread(own_postgres.start)
        await sending
        await made.settled({"delivered": 300 + 6 * 50})
        await says(ledger, 200)


async def traffic(site: Site, times: int) -> None:
    for number in range(times):
        await site.traffic(50, start=1_000 + 50 * number)
        await asyncio.sleep(0.3)


@pytest.mark.timeout(300)
async def test_a_locked_sqlite_file_is_waited_for(site: MakeSite, request: pytest.FixtureRequest) -> None:
    if "postgres" in request.node.name:
        pytest.skip("is about SQLite")
    made = await site()
    async with made.ledger() as ledger:
        await made.traffic(100)
        await made.settled({"delivered": 100})
        other = sqlite3.connect(str(made.database.url.database), isolation_level=None, timeout=30)
        other.execute("BEGIN IMMEDIATE")
        await made.traffic(100)
        await says(ledger, 503)
        assert await made.counts() == {"delivered": 100}  # it can be read nevertheless
        other.execute("ROLLBACK")
        other.close()
        await made.settled({"delivered": 200})
        await says(ledger, 200)


@pytest.mark.timeout(300)
async def test_workers_that_come_go_and_are_killed_count_everything_once(site: MakeSite) -> None:
    made = await site(partitions=4)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(made.ledger())
        sending = asyncio.create_task(traffic(made, 10))
        second = await stack.enter_async_context(made.ledger())
        await first.kill()
        third = await stack.enter_async_context(made.ledger())
        await second.kill()
        await sending
        await made.settled({"delivered": 500}, 2 * PATIENCE)

        async def healthy() -> bool:
            checks: Any = (await health(third))[1]["checks"]
            return bool(checks["ledger"] == {"healthy": True})

        await eventually(healthy, PATIENCE, lambda: "the ledger says that it is not well")
