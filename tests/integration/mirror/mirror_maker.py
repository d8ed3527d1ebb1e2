"""Kafka's own MirrorMaker as a process, set as docs/mirror.md says."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.integration.mirror.jars import class_path

from linkspan.broker.java import find_java

PAGE = Path(__file__).parents[3] / "docs" / "mirror.md"
MAIN = "org.apache.kafka.connect.mirror.MirrorMaker"
#: A single broker keeps one copy of each.
ALONE = ("checkpoints.topic", "heartbeats.topic", "offset-syncs.topic", "offset.storage", "status.storage")
FAULT = re.compile(r"SEVERE|Stopping due to error|unrecoverable exception")


def properties(old: str, new: str, integration: str, changes: Mapping[str, str]) -> str:
    """What the page has, with these addresses and this name of the integration."""
    (said,) = re.findall(r"```properties\n(.*?)```", PAGE.read_text(), re.DOTALL)
    text = said.replace("old-kafka:9092", old).replace("new-kafka:9092", new).replace("plans", integration)
    assert all(one in text for one in (old, new, integration)), "the page was changed"
    kept = [line for line in text.splitlines() if "replication.factor" not in line]
    kept += [f"{name}.replication.factor = 1" for name in (*ALONE, "config.storage")] + ["replication.factor = 1"]
    return "\n".join([*kept, *(f"{name} = {value}" for name, value in changes.items())]) + "\n"


class MirrorMaker:
    """From the Kafka at ``old`` to that at ``new``. ``changes``: properties beyond the page's, or other than there."""

    def __init__(self, folder: Path, old: str, new: str, integration: str, changes: Mapping[str, str] = {}) -> None:
        self._folder, self._starts = folder, 0
        self._file = folder / "mirror.properties"
        self._file.write_text(properties(old, new, integration, changes))
        self._command = [str(find_java().program), "-Xmx512m", "-cp", class_path(), MAIN, str(self._file)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._starts += 1
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(self._command, stdout=out, stderr=out, cwd=self._folder)

    @property
    def _log(self) -> Path:
        return self._folder / f"mirror-{self._starts}.log"

    def check(self) -> None:
        """It runs, and none of its tasks has ended."""
        assert self._process
        said = self._log.read_text(errors="replace")
        assert self._process.poll() is None, said[-3000:]
        assert not (found := FAULT.search(said)), said[found.start() - 300 : found.end() + 3000]

    def freeze(self) -> None:
        """It is as a mirror that fell behind."""
        self._signal(signal.SIGSTOP)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        if self._process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
        self._wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None
