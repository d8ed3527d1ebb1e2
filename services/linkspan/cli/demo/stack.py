"""The demo's processes: real ones, each with its log file, found again by ``--stop``."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.lifecycle import bind

HOST = "127.0.0.1"
FIRST_PORT = 8080
START_SECONDS = 90
STOP_SECONDS = 40  # the broker gives Kafka 30


@dataclass(frozen=True, slots=True)
class Ports:
    """Consecutive ones from ``first``; Kafka has its own."""

    first: int
    kafka: int

    @property
    def by_service(self) -> dict[str, int]:
        names = ("ingress", "plan-manager", "analysis", "egress", "ledger", "insight")
        return {"broker": self.kafka} | {name: self.first + index for index, name in enumerate(names)}

    @property
    def control(self) -> dict[str, int]:
        """Of the control APIs: the usual ones where the others are, so that the command line finds them."""
        first = 50_051 if self.first == FIRST_PORT else self.first + 10
        return {"ingress": first, "egress": first + 1}

    def url(self, service: str, scheme: str = "http") -> str:
        return f"{scheme}://{HOST}:{self.by_service[service]}"

    def check_free(self) -> None:
        """Raises UserMistake where a port is in use, or two of them are the same."""
        control = {f"{service}'s control API": port for service, port in self.control.items()}
        wanted = self.by_service | control
        for service, port in wanted.items():
            if service != "broker" and port == self.kafka:
                raise UserMistake(f"port {port} is for Kafka and for {service}: choose another --kafka-port")
        for service, port in wanted.items():
            try:
                bind(HOST, port).close()
            except UserMistake:
                raise UserMistake(
                    f"port {port} (for {service}) is in use; stop what uses it (linkspan demo --stop ends an earlier "
                    "demo) or choose others with --first-port and --kafka-port"
                ) from None


@dataclass(slots=True)
class Stack:
    """Starts and stops the processes; ``directory`` keeps their data, logs and the list of process ids."""

    directory: Path
    ports: Ports
    secrets: dict[str, str] = field(default_factory=lambda: {"id": "linkspan", "secret": secrets.token_urlsafe(24)})
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _log_starts: dict[str, int] = field(default_factory=dict)

    @property
    def keyring(self) -> Path:
        return self.directory / "keyring.yaml"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "SYSTEM_A_ENDPOINT": self.ports.url("plan-manager"),
            "SYSTEM_A_CLIENT_ID": self.secrets["id"],
            "SYSTEM_A_CLIENT_SECRET": self.secrets["secret"],
            "SYSTEM_B_ENDPOINT": self.ports.url("analysis", "ws"),
            "SYSTEM_B_API_KEY": self.secrets["secret"],
            "MESSAGE_QUEUE_URL": f"kafka://{HOST}:{self.ports.kafka}",
            "LINKSPAN_DATA": str(self.directory.absolute()),
            "LINKSPAN_DATABASE_URL": "",
            "LINKSPAN_KEYRING": str(self.keyring.absolute()),
            "LINKSPAN_PLAIN_TEXT": "development",
            "LINKSPAN_API_KEY": "",
            "LINKSPAN_API_KEY_FILE": str(self.api_key_file.absolute()),
            "OTEL_TRACES_SAMPLER_ARG": os.environ.get("OTEL_TRACES_SAMPLER_ARG", "1"),
        }

    @property
    def api_key_file(self) -> Path:
        """Holds the key with which the plan manager sends, once it was issued."""
        return self.directory / "plan-manager.key"

    def start(self, service: str, *arguments: str) -> None:
        log = self.log(service)
        log.parent.mkdir(parents=True, exist_ok=True)
        ports = ["--port", str(self.ports.by_service[service])]
        if service in self.ports.control:
            ports += ["--control-port", str(self.ports.control[service])]
        with log.open("ab") as output:
            self._log_starts[service] = output.tell()
            self.running[service] = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "linkspan", service, *arguments, *ports],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )
        self._remember()

    async def ready(self, service: str) -> None:
        """Returns once the process has printed its ready line; raises UserMistake with its last words."""
        deadline = time.monotonic() + START_SECONDS
        while b"ready " not in self._said(service):
            if self.running[service].poll() is not None:
                raise UserMistake(f"{service} ended while starting: {self._last_line(service)}")
            if time.monotonic() > deadline:
                raise UserMistake(f"{service} is not ready after {START_SECONDS} s; its log: {self.log(service)}")
            await asyncio.sleep(0.05)

    def check_alive(self) -> None:
        for service, process in self.running.items():
            if process.poll() is not None:
                raise UserMistake(f"{service} ended: {self._last_line(service)} (log: {self.log(service)})")

    def stop(self) -> None:
        """The last started first, Kafka last; what does not end within its time is killed."""
        for process in reversed(list(self.running.values())):
            end(psutil.Process(process.pid) if process.poll() is None else None)
            process.wait()
        self.running.clear()
        pid_file(self.directory).unlink(missing_ok=True)

    def log(self, service: str) -> Path:
        return self.directory / "logs" / f"{service}.log"

    def _said(self, service: str) -> bytes:
        """Its log since it was started last."""
        with self.log(service).open("rb") as log:
            log.seek(self._log_starts[service])
            return log.read()

    def _last_line(self, service: str) -> str:
        lines = [line for line in self._said(service).decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].removeprefix("linkspan: ") if lines else "it said nothing"

    def _remember(self) -> None:
        ids = {service: [process.pid, _born(process.pid)] for service, process in self.running.items()}
        pid_file(self.directory).write_text(json.dumps(ids))


def pid_file(directory: Path) -> Path:
    return directory / "processes.json"


def stop_earlier(directory: Path) -> int:
    """Ends what an earlier demo in ``directory`` left running; the number of processes."""
    try:
        remembered: Mapping[str, tuple[int, float]] = json.loads(pid_file(directory).read_text())
    except FileNotFoundError:
        return 0
    known = list(remembered.values())[::-1]
    found = [psutil.Process(pid) for pid, born in known if psutil.pid_exists(pid) and _same(_born(pid), born)]
    for process in found:
        end(process)
    pid_file(directory).unlink(missing_ok=True)
    return len(found)


def end(process: psutil.Process | None) -> None:
    if process is None:
        return
    try:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
    except psutil.TimeoutExpired:
        process.kill()
    except psutil.NoSuchProcess:
        pass


def _same(one: float, other: float) -> bool:
    """Seconds since 1970; they move with the machine's clock when it is set."""
    return abs(one - other) < 2


def _born(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return 0.0
