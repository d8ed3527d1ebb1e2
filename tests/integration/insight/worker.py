"""``linkspan insight`` as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.integration.egress.bridge import Bridge
from tests.integration.insight.logbook import Logbook

#: Seconds; the least that a broker takes.
SESSION = 6
READY = 90
PROGRAM = ("-m", "linkspan")


class WorkerProcess:
    """``data``: its directory; workers of one directory share it as those of one machine do. ``program``: what Python
    is told to run."""

    def __init__(self, log: Logbook | Bridge, data: Path, program: tuple[str, ...] = PROGRAM, **environ: str) -> None:
        self._program = program
        self._log, self._data, self._environ = log, data, environ
        self.lines: list[str] = []
        self.address = ""

    async def start(self) -> WorkerProcess:
        said = {
            "MESSAGE_QUEUE_URL": f"kafka://{self._log.bootstrap}",
            "LINKSPAN_DATA": str(self._data),
            "LINKSPAN_SESSION_SECONDS": str(SESSION),
        }
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, *self._program, "insight", str(self._log.path), "--port", "0"),
            env=os.environ | said | self._environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        assert self.process.stderr
        async for line in self.process.stderr:
            self.lines.append(line.decode().rstrip())

    async def ready(self) -> WorkerProcess:
        assert self.process.stdout
        line = (await asyncio.wait_for(self.process.stdout.readline(), READY)).decode()
        assert line.startswith("ready http://"), (line, self.lines[-20:])
        self.address = line.split()[1]
        return self

    def told(self, message: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [line for line in found if line["message"] == message]

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self._reading

    async def stop(self) -> int:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self.process.wait(), 60)
        await self._reading
        return code
