"""The bridge as an operator runs it: an integration file, and real processes to be killed, stopped and started."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from linkspan.broker.ports import HOST, choose

FIELDS = [
    {"name": "orderId", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "line", "type": "int"},
    {"name": "text", "type": "string", "default": ""},
]
#: Type of a message -> the flow that takes it.
FLOWS = {"Order": "orders", "Report": "reports"}
RETRY = {"attempts": 100, "first": "100ms", "cap": "1s"}


def write_integration(folder: Path, a_port: int, b_port: int, partitions: int = 4) -> Path:
    """``orders`` from A (REST) to B (WebSocket), spooled without Kafka; ``reports`` from B to A, refused without, and
    a dead letter of theirs does not hold its key."""
    name = "chaos" + secrets.token_hex(3)
    schemas = folder / "schemas" / name
    schemas.mkdir(parents=True)
    for kind in FLOWS:
        schema = {"type": "record", "namespace": f"{name}.payload", "name": kind, "fields": FIELDS}
        (schemas / f"{kind}.1.avsc").write_text(json.dumps(schema))
    common = {"key": "payload.orderId", "partitions": partitions}
    spec = {
        "integration": name,
        "schemas": "schemas",
        "systems": {
            "a": {"kind": "rest", "url": f"http://{HOST}:{a_port}", "retry": RETRY, "timeout": "4s"},
            "b": {
                "kind": "websocket",
                "url": f"ws://{HOST}:{b_port}",
                "retry": RETRY,
                "timeout": "4s",
                "heartbeat": "4s",
                "auth": {"api_key": "key"},
            },
        },
        "flows": {
            "orders": {"from": "a", "to": "b", "type": "Order", "when_kafka_is_away": "spool"} | common,
            "reports": {"from": "b", "to": "a", "type": "Report", "on_dead_letter": "continue"} | common,
        },
    }
    file = folder / "integration.yaml"
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    return file


LINKSPAN = [sys.executable, "-m", "linkspan"]


def name_of(file: Path) -> str:
    return str(yaml.safe_load(file.read_text())["integration"])


@dataclass
class Member:
    """One process by its command line; started again it is the same replica: its port and its directory stay."""

    name: str
    kind: str
    file: Path
    bootstrap: str
    environment: dict[str, str]
    port: int = field(default_factory=choose)
    starts: int = 0
    #: Ends that nobody ordered, by exit code.
    crashes: list[int] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def folder(self) -> Path:
        return self.file.parent / self.name

    @property
    def log(self) -> Path:
        """Of the last start."""
        return self.folder / f"{self.starts}.log"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.starts += 1
        environment = {
            "MESSAGE_QUEUE_URL": f"kafka://{self.bootstrap}",
            "LINKSPAN_DATA": str(self.folder),
            "LINKSPAN_BLOBS": str(self.file.parent / "blobs"),
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*LINKSPAN, self.kind, str(self.file), "--port", str(self.port), "--control-port", "0"],
                env=os.environ | environment | self.environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    @property
    def running(self) -> bool:
        if self._process is None:
            return False
        code = self._process.poll()
        if code is not None:
            self.crashes.append(code)
            self._process = None
        return code is None

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        if self.running and self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def stop(self, limit: float = 60) -> int:
        """SIGTERM; its exit code, or AssertionError after ``limit`` seconds. One that has not come up yet just ends."""
        if not self.running or self._process is None:
            return 0
        process = self._process
        process.terminate()
        try:
            code = await asyncio.to_thread(process.wait, limit)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not stop within {limit:g} s") from None
        self._process = None
        return 0 if code == -signal.SIGTERM and not self.log.stat().st_size else code

    async def ready(self, limit: float = 90) -> None:
        async with aiohttp.ClientSession() as session, asyncio.timeout(limit):
            while not await _says_yes(session, f"{self.url}/ready"):
                assert self.running, f"{self.name} ended: {self.crashes}"
                await asyncio.sleep(0.1)

    def broken(self) -> list[str]:
        """Lines of all its logs that tell of a mistake in the program, not of something in its surroundings."""
        lines = (
            line for log in sorted(self.folder.glob("*.log")) for line in log.read_text(errors="replace").split("\n")
        )
        return [f"{self.name}: {line[-800:]}" for line in lines if _MISTAKE.search(line)]


#: The last line of a traceback, in a line of a JSON log.
_MISTAKE = re.compile(r"\\n(AttributeError|TypeError|NameError|KeyError|IndexError|AssertionError|RuntimeError)\b")


async def _says_yes(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=5)) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def audit(file: Path, bootstrap: str) -> dict[str, Any]:
    """What ``linkspan audit`` says, with its exit code as ``code``."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "linkspan", "audit", str(file), "--output", "json"),
        env=os.environ | {"MESSAGE_QUEUE_URL": f"kafka://{bootstrap}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode in {0, 1}, err.decode()
    said: dict[str, Any] = json.loads(out)
    return said | {"code": process.returncode}


async def settled_audit(file: Path, bootstrap: str, limit: float = 120) -> dict[str, Any]:
    """The first that finds nothing in flight, or the last one within ``limit`` seconds."""
    deadline = asyncio.get_running_loop().time() + limit
    while True:
        said = await audit(file, bootstrap)
        in_flight = sum(flow["in_flight"] for flow in said["flows"].values())
        if not in_flight or asyncio.get_running_loop().time() > deadline:
            return said
        await asyncio.sleep(2)
