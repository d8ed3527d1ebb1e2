"""An operator at the command line, against the real processes of a bridge."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.integration.egress.bridge import Bridge
from tests.integration.insight.logbook import Logbook

from linkspan.cli.main import main

#: Of one command; CI's machine is slow and shared.
PATIENCE = 60.0


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        assert self.code == 0, self
        found: dict[str, Any] = json.loads(self.out)
        return found


@dataclass
class Operator:
    """``control``: addresses as the environment names them; ``token`` None: what lies in the data directory."""

    made: Bridge | Logbook
    control: str
    token: str | None = None
    more: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.made.path.parent / "data"

    @property
    def environ(self) -> dict[str, str]:
        found = {name: value for name, value in os.environ.items() if not name.startswith("LINKSPAN_")}
        found |= {
            "LINKSPAN_DATA": str(self.data),
            "LINKSPAN_CONTROL": self.control,
            "LINKSPAN_PLAIN_TEXT": "development",
            "XDG_CONFIG_HOME": str(self.made.path.parent / "config"),
            "MESSAGE_QUEUE_URL": f"kafka://{self.made.bootstrap}",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        return found | ({"LINKSPAN_TOKEN": self.token} if self.token else {}) | self.more

    async def __call__(self, *arguments: str) -> Done:
        """In a thread of this process, which has imported everything already; no terminal."""
        return await asyncio.wait_for(asyncio.to_thread(self._here, arguments), PATIENCE)

    def _here(self, arguments: tuple[str, ...]) -> Done:
        out, err, code = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name in os.environ.keys() - self.environ.keys():
                patch.delenv(name)
            for name, value in self.environ.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["linkspan", *arguments])
            patch.setattr(sys, "stdin", io.StringIO())
            try:
                main()
            except SystemExit as ended:
                code = int(ended.code or 0)
        return Done(code, out.getvalue(), err.getvalue())

    async def told(self, *arguments: str, until: str) -> Done:
        """Asks again until the answer has ``until``: ledger, replicas and checkpoints follow what happens."""
        end = time.monotonic() + PATIENCE
        while True:
            done = await self(*arguments)
            if until in done.out:
                return done
            assert time.monotonic() < end, done
            await asyncio.sleep(0.5)

    async def run(self, *command: str, stdin: int = asyncio.subprocess.DEVNULL) -> Done:
        process = await self.started(*command, stdin=stdin)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        return Done(process.returncode or 0, out.decode(), err.decode())

    async def started(self, *command: str, stdin: int = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(*command, env=self.environ, stdin=stdin, stdout=pipe, stderr=pipe)

    async def answering(self, said: str, *arguments: str) -> Done:
        """At a terminal, where ``said`` is typed."""
        ours, theirs = os.openpty()
        try:
            os.write(ours, said.encode())
            return await self.run(sys.executable, "-m", "linkspan", *arguments, stdin=theirs)
        finally:
            os.close(ours)
            os.close(theirs)


@asynccontextmanager
async def ledger(operator: Operator) -> AsyncIterator[None]:
    """``linkspan ledger`` beside it, ready."""
    async with service(operator, "ledger", "run"):
        yield


@asynccontextmanager
async def service(operator: Operator, *command: str) -> AsyncIterator[list[str]]:
    """It runs beside, ready; gives its HTTP address and, where it has one, that of its control API."""
    control = ("--control-port", "0") if command[0] in ("ingress", "egress") else ()
    process = await operator.started(
        *(sys.executable, "-m", "linkspan", *command, str(operator.made.path), "--port", "0", *control)
    )
    assert process.stdout
    assert process.stderr
    said = asyncio.create_task(process.stderr.read())
    try:
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        assert line.startswith(b"ready http://"), await said
        more = [await process.stdout.readline()] if control else []
        yield [one.decode().split()[1] for one in (line, *more)]
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE)
        await said
