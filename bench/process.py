"""A process under test: started with its log in a file, and its CPU time taken with that of its children."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil


class Process:
    """``say_ready``: what its output holds once it can be used."""

    def __init__(self, name: str, command: list[str], directory: Path, environ: dict[str, str]) -> None:
        self._log = directory / f"{name}.log"
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environ
            )
        self._process = psutil.Process(self._popen.pid)

    def ready(self, says: str, seconds: float = 120) -> str:
        """The first line that holds ``says``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._popen.poll() is None:
            for line in self._log.read_text(errors="replace").splitlines():
                if says in line:
                    return line
            time.sleep(0.05)
        raise SystemExit(f"{self._log.name}: not ready; it said: {self._log.read_text()[-2000:]}")

    def cpu(self) -> float:
        """Seconds, user and system, of it and its children."""
        total = 0.0
        for process in (self._process, *self._process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def stop(self) -> None:
        self._popen.terminate()
        try:
            self._popen.wait(8)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
