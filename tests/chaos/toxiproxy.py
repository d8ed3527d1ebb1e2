"""Toxiproxy as a process of the test: real connections that are slow, cut, or open and dead."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from linkspan.broker.ports import HOST, choose

PROGRAM = "toxiproxy-server"
MODULE = ("github.com/Shopify/toxiproxy/v2@v2.5.0", "cmd/server")
#: Kind of fault: the toxics that make it. A connection that is half open says nothing in either direction.
TOXICS: dict[str, list[dict[str, Any]]] = {
    "slow": [{"type": "latency", "stream": "downstream", "attributes": {"latency": 300, "jitter": 250}}],
    "thin": [
        {"type": "bandwidth", "stream": "upstream", "attributes": {"rate": 12}},
        {"type": "bandwidth", "stream": "downstream", "attributes": {"rate": 12}},
    ],
    "half open": [
        {"type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}},
        {"type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}},
    ],
    "answers lost": [{"type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}],
    "reset": [{"type": "reset_peer", "stream": "downstream", "attributes": {"timeout": 50}}],
    "crumbs": [
        {"type": "slicer", "stream": "upstream", "attributes": {"average_size": 60, "size_variation": 40, "delay": 100}}
    ],
}


def program(folder: Path) -> str:
    """On the path, or built where the tools for that are; skips the test where neither is so."""
    found = shutil.which(PROGRAM)
    if found:
        return found
    tool = Path(os.environ.get("LINKSPAN_SHARED") or Path(__file__).parents[3] / "shared") / "images" / "go-tool.sh"
    if tool.exists():
        command = ["bash", str(tool), "--name", PROGRAM, *MODULE, str(folder)]
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0:
            return str(folder / PROGRAM)
    pytest.skip(f"needs {PROGRAM} (Toxiproxy 2.5 or later) on the PATH")


class Toxiproxy:
    """``between`` makes a proxy; a fault is on it from ``disturb`` to ``heal``."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def between(self, name: str, upstream: str, port: int | None = None) -> int:
        """The port that leads to ``upstream`` (host:port)."""
        port = port or choose()
        await self._post("/proxies", {"name": name, "listen": f"{HOST}:{port}", "upstream": upstream, "enabled": True})
        return port

    async def disturb(self, name: str, kind: str) -> None:
        """``down``: refuses connections and closes those that are open; else one of ``TOXICS``."""
        if kind == "down":
            await self._post(f"/proxies/{name}", {"enabled": False})
        for number, toxic in enumerate(TOXICS.get(kind, ())):
            await self._post(f"/proxies/{name}/toxics", toxic | {"name": f"toxic-{number}"})

    async def heal(self, name: str, kind: str) -> None:
        if kind == "down":
            await self._post(f"/proxies/{name}", {"enabled": True})
        for number, _ in enumerate(TOXICS.get(kind, ())):
            async with self._session.delete(f"/proxies/{name}/toxics/toxic-{number}") as answer:
                assert answer.status == 204, await answer.text()

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        async with self._session.post(path, json=body) as answer:
            assert answer.status < 300, await answer.text()


@asynccontextmanager
async def toxiproxy(folder: Path) -> AsyncIterator[Toxiproxy]:
    """Runs it; ``folder`` keeps its log, and the program where it has to be built."""
    command, port = await asyncio.to_thread(program, folder / "tools"), choose()
    with (folder / "toxiproxy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            command, "-host", HOST, "-port", str(port), stdout=log, stderr=log, start_new_session=True
        )
    try:
        once = aiohttp.TCPConnector(force_close=True)  # it closes idle connections, and a fault is not asked for twice
        async with aiohttp.ClientSession(f"http://{HOST}:{port}", connector=once) as session:
            await _answers(session)
            yield Toxiproxy(session)
    finally:
        process.kill()
        await process.wait()


async def _answers(session: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                async with session.get("/version"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
