"""``linkspan demo`` as a person or a script runs it."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import free_ports

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


def demo(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "linkspan", "demo", "--data-dir", str(directory), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=200)


def on_free_ports() -> list[str]:
    ports = free_ports()
    return ["--first-port", str(ports.first), "--kafka-port", str(ports.kafka)]


def test_without_a_terminal_it_runs_once_to_the_end_and_leaves_nothing_running(tmp_path: Path) -> None:
    ended = demo(tmp_path, *on_free_ports())
    assert ended.returncode == 0, ended.stderr
    for text in (
        "Two-storey house",
        "concrete",
        "correlation id",
        "delivered to the plan manager",
        "where to look next",
    ):
        assert text in ended.stdout
    assert not processes_below(tmp_path)


def test_keep_leaves_it_running_and_stop_ends_it(tmp_path: Path) -> None:
    ended = demo(tmp_path, *on_free_ports(), "--keep")
    assert ended.returncode == 0, ended.stderr
    assert len(processes_below(tmp_path)) >= 5
    assert told_as_the_screen_says(ended.stdout) == ["PlanUploaded", "AnalysisComplete"]
    assert demo(tmp_path, "--stop").stdout == "7 processes of an earlier demo ended\n"
    deadline = time.monotonic() + 60
    while processes_below(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not processes_below(tmp_path)


def test_a_port_in_use_is_said_in_one_line_with_exit_code_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = demo(tmp_path, "--first-port", str(port), "--kafka-port", str(free_ports().kafka))
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert f"port {port} (for ingress) is in use" in ended.stderr


def test_kafka_s_port_that_is_another_s_is_said_in_one_line_with_exit_code_2(tmp_path: Path) -> None:
    first = free_ports().first
    ended = demo(tmp_path, "--first-port", str(first), "--kafka-port", str(first + 3))
    assert ended.returncode == 2
    said = f"linkspan: port {first + 3} is for Kafka and for egress: choose another --kafka-port"
    assert ended.stderr.splitlines() == [said]


def told_as_the_screen_says(screen: str) -> list[str]:
    """Types of the messages of the story that it names, as soon as the ledger has them all."""
    environ = dict(re.findall(r"export (LINKSPAN_\w+)=(\S+)", screen))
    named = re.search(r"linkspan (message \S+)", screen)
    assert named
    command = [sys.executable, "-m", "linkspan", *named[1].split(), "--output", "json"]
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=False)
        found = json.loads(done.stdout)["messages"] if done.returncode == 0 else []
        delivered = [one for one in found if one["message"]["status"] == "MESSAGE_STATUS_DELIVERED"]
        if len(delivered) >= 2 or time.monotonic() > deadline:
            return [one["message"]["type"] for one in delivered]
        time.sleep(0.5)


def processes_below(directory: Path) -> list[str]:
    """Command lines of processes that name a folder below this one, or have it in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            said = [*process.cmdline(), process.environ().get("LINKSPAN_DATA", "")]
        except psutil.Error:
            continue
        if any(str(directory) in part for part in said):
            found.append(" ".join(process.cmdline()))
    return found
