"""What the analysis system does where a client leaves, or a replay comes, at the worst moment; on a real store."""

from __future__ import annotations

import asyncio
import copy
import json
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import WebSocket

from linkspan.kernel.telemetry.traces import Tracing
from linkspan.reference.analysis.assumptions import packaged_assumptions
from linkspan.reference.analysis.intake import Intake
from linkspan.reference.analysis.protocol import SUBMIT
from linkspan.reference.analysis.sockets import SUBPROTOCOL, queue
from linkspan.reference.analysis.tables import SCHEMA
from linkspan.reference.analysis.work import Done, Worker
from linkspan.reference.store import Store


class HeldWorker(Worker):
    """Keeps what it has analysed to itself until ``go`` is set."""

    def hold(self) -> None:
        self.analysed, self.go, self._loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def _analyse_all(self, rows: list[sqlite3.Row]) -> list[Done]:
        done = super()._analyse_all(rows)
        self._loop.call_soon_threadsafe(self.analysed.set)
        assert self.go.wait(10)
        return done


class System:
    def __init__(self, path: Path) -> None:
        self.store = Store(path / "analysis.sqlite", SCHEMA)
        self.told: asyncio.Queue[int] = asyncio.Queue()
        tracing = Tracing.from_environment("analysis")
        self.worker = HeldWorker(self.store, packaged_assumptions(), tracing, lambda n, _: self.told.put_nowait(n))
        self.worker.hold()
        self.intake = Intake(self.store, self.worker, 100)

    async def start(self) -> None:
        await self.worker.open()
        self._running = asyncio.create_task(self.worker.run())

    async def stop(self) -> None:
        self.worker.go.set()
        self._running.cancel()
        await asyncio.wait({self._running})
        await self.store.close()

    async def event(self) -> dict[str, Any]:
        """The next one; that there is none in the store but it."""
        n = await asyncio.wait_for(self.told.get(), 10)
        rows = await self.store.read(lambda connection: connection.execute("SELECT n, body FROM events").fetchall())
        assert [row["n"] for row in rows] == [n]
        found: dict[str, Any] = json.loads(rows[0]["body"])
        return found


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    made = System(tmp_path)
    await made.start()
    yield made
    await made.stop()


def client(system: System, frame: dict[str, Any]) -> WebSocket:
    """It submits ``frame`` and leaves while that is being stored."""
    app = SimpleNamespace(state=SimpleNamespace(intake=system.intake, api_key="key"))
    scope = {"type": "websocket", "app": app, "headers": [(b"x-api-key", b"key")], "subprotocols": [SUBPROTOCOL]}
    messages = iter([{"type": "websocket.connect"}, {"type": "websocket.receive", "text": json.dumps(frame)}])

    async def receive() -> dict[str, Any]:
        for _ in range(10):  # its answer is waited for by then
            await asyncio.sleep(0)
        return next(messages, {"type": "websocket.disconnect", "code": 1006})

    async def send(_message: Any) -> None:
        pass

    return WebSocket(scope, receive, send)


async def test_what_is_stored_as_its_client_leaves_is_analysed(system: System) -> None:
    system.worker.go.set()
    stored = threading.Event()
    before = system.store.submit(lambda _connection: stored.wait(10))
    await queue(client(system, copy.deepcopy(SUBMIT)))
    stored.set()
    assert await before
    assert (await system.event())["metadata"]["correlationId"] == SUBMIT["body"]["metadata"]["correlationId"]
    assert system.worker.queued == 0


async def test_what_a_replay_replaces_while_it_is_analysed_is_analysed_anew(system: System) -> None:
    assert (await system.intake.submit(json.dumps(SUBMIT))).result == "queued"
    await asyncio.wait_for(system.worker.analysed.wait(), 10)
    other = copy.deepcopy(SUBMIT) | {"replay": "mended"}
    other["body"]["payload"]["materials"][0]["netVolume"] = 10.0
    assert (await system.intake.submit(json.dumps(other))).result == "queued"
    system.worker.go.set()
    assert (await system.event())["payload"]["results"]["totalVolume"] == 10.0
    assert system.told.empty()
    assert system.worker.queued == 0
