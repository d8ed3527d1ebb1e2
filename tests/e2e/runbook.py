"""A page of docs/runbooks as a person follows it: its blocks in their order, in one shell."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from textwrap import dedent

from linkspan.cli.demo.stack import Stack

PAGES = Path(__file__).parents[2] / "docs" / "runbooks"
_BLOCK = re.compile(r"^( *)```sh\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
#: What a block waits for comes within so many seconds, or the test fails.
LIMIT = 150

Before = Callable[[], Awaitable[None]]


def blocks(page: str) -> list[str]:
    found = [dedent(match[2]) for match in _BLOCK.finditer((PAGES / page).read_text())]
    assert found, f"{page} has no commands"
    return found


class Shell:
    """What one block sets the next one has. ``said``: what each printed."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder, self._environ = folder, dict(environ)
        self.said: list[str] = []
        program = folder / "bin" / "linkspan"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m linkspan "$@"\n')
        program.chmod(0o755)
        self._environ["PATH"] = f"{program.parent}:{os.environ['PATH']}"

    async def follow(self, page: str, before: Mapping[int, Before] | None = None, *, start: int = 0) -> None:
        """``before``: what is to happen before the block of that number, from 0; ``start``: the first that runs, where
        another page says from which step on this one is followed."""
        for number, block in [*enumerate(blocks(page))][start:]:
            if before and number in before:
                await before[number]()
            await self.run(block)

    async def run(self, block: str) -> str:
        left = self.folder / "environment.json"
        leave = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))' > {left}"
        process = await asyncio.create_subprocess_exec(
            *("bash", "-eu", "-c", f"set -a\n{block}\n{leave}"),
            cwd=self.folder,
            env=self._environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            out, _ = await asyncio.wait_for(process.communicate(), LIMIT)
        except TimeoutError:
            process.kill()
            raise AssertionError(f"not within {LIMIT} s:\n{block}") from None
        self.said.append(out.decode())
        assert process.returncode == 0, f"exit code {process.returncode}:\n{block}\n{self.said[-1]}"
        self._environ = json.loads(left.read_text())
        return self.said[-1]


def hand_over(stack: Stack, integration: Path, folder: Path) -> dict[str, str]:
    """Ends ingress, egress and ledger and starts them as ``$START`` does, so that a page can; its variables."""
    service, described = Path(__file__).with_name("service.py"), folder / "services.json"
    ports, control = stack.ports.by_service, stack.ports.control
    described.write_text(
        json.dumps(
            {
                name: [str(integration), "--port", str(ports[name])]
                + (["--control-port", str(control[name])] if name in control else [])
                for name in ("ingress", "egress", "ledger")
            }
        )
    )
    for name in ("ledger", "egress", "ingress"):
        process = stack.running.pop(name)
        process.terminate()
        process.wait(30)
    return stack.environment | {
        "RUNBOOK_SERVICES": str(described),
        "START": f"{sys.executable} {service} start",
        "STOP": f"{sys.executable} {service} stop",
        "INTEGRATION": str(integration),
        "WHY": "ticket 4711",
        "LINKSPAN_CONTROL": f"127.0.0.1:{control['ingress']},127.0.0.1:{control['egress']}",
    }
