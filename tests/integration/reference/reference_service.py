"""The real reference systems as processes of their own, on ports outside the ephemeral range."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from linkspan.broker.ports import choose

SECRET = "a-client-secret"
API_KEY = "an-api-key"


@dataclass
class Service:
    """A reference system that can be killed and started again on the same port and data."""

    module: str
    command: str
    data: Path
    options: list[str] = field(default_factory=list)
    port: int = field(default_factory=choose)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        code = f"import typer; from {self.module} import {self.command}; typer.run({self.command})"
        arguments = ["--port", str(self.port), "--data-dir", str(self.data), *self.options]
        environment = {**os.environ, "SYSTEM_A_CLIENT_SECRET": SECRET, "SYSTEM_B_API_KEY": API_KEY}
        path = self.data.parent / f"{self.command}.log"
        with path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=log, env=environment
            )
        assert self.process.stdout
        line = self.process.stdout.readline().decode().strip()
        assert line == f"ready {self.url}", path.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process
        assert self.process.stdout
        self.process.send_signal(number)
        self.process.stdout.close()
        return self.process.wait(15)


@contextmanager
def running(service: Service) -> Iterator[Service]:
    service.start()
    try:
        yield service
    finally:
        assert service.end() == 0
