"""A real Jaeger beside the test: one process, everything in memory, on free ports of this machine.

``LINKSPAN_JAEGER_BINARY`` says where its binary is (default: ``~/.cache/linkspan-tools/jaeger``); ``.ci/run``
builds it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import yaml

from linkspan.broker.ports import choose

BINARY = Path(os.environ.get("LINKSPAN_JAEGER_BINARY") or "~/.cache/linkspan-tools/jaeger").expanduser()


@dataclass(frozen=True)
class JaegerProcess:
    """``otlp``: takes spans (OTLP over HTTP); ``query``: its query API."""

    otlp: str
    query: str


@asynccontextmanager
async def running_jaeger(folder: Path) -> AsyncIterator[JaegerProcess]:
    if not os.access(BINARY, os.X_OK):
        pytest.skip(f"needs Jaeger's binary: {BINARY} is none; LINKSPAN_JAEGER_BINARY says where another is")
    made = JaegerProcess(f"http://127.0.0.1:{choose()}", f"http://127.0.0.1:{choose()}")
    file = folder / "jaeger.yaml"
    file.write_text(yaml.safe_dump(_configuration(made)))
    log = folder / "jaeger.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(BINARY, "--config", file, stdout=output, stderr=output)
    try:
        await _answers(made.query, process)
        yield made
    except JaegerEnded:
        raise AssertionError(await asyncio.to_thread(log.read_text)) from None
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class JaegerEnded(Exception):
    """Instead of starting."""


async def _answers(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            if process.returncode is not None:
                raise JaegerEnded
            try:
                async with session.get(f"{url}/api/services") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)


def _configuration(made: JaegerProcess) -> dict[str, object]:
    """That of its all-in-one, without what nobody here asks for."""
    otlp, query = (url.removeprefix("http://") for url in (made.otlp, made.query))
    return {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
        "extensions": {
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": {"endpoint": query},
                "grpc": {"endpoint": f"127.0.0.1:{choose()}"},
            },
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 100_000}}}},
        },
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": otlp}}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
    }
