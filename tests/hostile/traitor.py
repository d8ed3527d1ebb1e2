"""A plan reader that was taken over: tries what an attacker would, and answers what came of it as its reasons.

It stands in for ``linkspan/reference/plans/dxf/extract.py`` in a copy of the sources; addresses come in the plan file.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from linkspan.reference.plans.notes import Notes
from linkspan.reference.plans.shape import Dimensions, Extract


def extract_dxf(path: Path, notes: Notes) -> Extract:
    given = json.loads(path.read_text().splitlines()[-1])
    tried: dict[str, Callable[[], Any]] = {
        "connects by TCP": lambda: socket.create_connection(("127.0.0.1", given["port"]), 2),
        "connects by a Unix socket": lambda: _unix(given["socket"]),
        "sends a datagram": lambda: _datagram(given["port"]),
        "listens": lambda: socket.create_server(("127.0.0.1", 0)),
        "starts a program": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
        "forks": _forked,
        "reads the parent's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "reads the parent's memory map": lambda: Path(f"/proc/{os.getppid()}/maps").read_bytes(),
        "reads a secret file": lambda: Path(given["secret"]).read_text(),
        "reads /etc/passwd": lambda: Path("/etc/passwd").read_text(),
        "lists the home of others": lambda: list(Path("/home").iterdir()),
        "writes outside its scratch": lambda: Path(given["outside"]).write_text("taken"),
        "writes into the sources": lambda: Path(__file__).write_text(""),
        "links out of its scratch": lambda: path.with_name("link").symlink_to("/"),
        "changes the rights of a file": lambda: Path(given["secret"]).chmod(0o777),
        "kills the parent": lambda: os.kill(os.getppid(), signal.SIGURG),
        "slows the parent": lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 1),
        # PTRACE_SEIZE: it would not stop the parent, which is the test run
        "traces the parent": lambda: _called("ptrace", 0x4206, os.getppid(), 0, 0),
        "raises its limits": _unlimited,
        "uses a file of the parent": _inherited,
        "has io_uring": lambda: _called("syscall", 425, 1, 0),
    }
    for what in given.get("only", tried):
        attempt = tried[what]
        notes.say(f"{what}: {_came_of(attempt)}")
    path.with_name("mine").write_text("allowed")
    # as it was started: what imported modules set since is theirs
    began = Path("/proc/self/environ").read_text().split("\0")
    notes.say("environment: " + " ".join(sorted(one.partition("=")[0] for one in began if one)))
    notes.say("values: " + " ".join(os.environ.values()))
    return Extract(Dimensions("DXF", "AC1032", None, None, "unknown", {}), [], notes.partial, notes.reasons)


def _came_of(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except Exception as error:  # noqa: BLE001 - whatever it is, the attempt failed
        return f"no ({type(error).__name__})"
    return "YES"


def _unix(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.connect(name)


def _datagram(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.sendto(b"secret", ("127.0.0.1", port))


def _forked() -> None:
    if os.fork() == 0:
        os._exit(0)


def _unlimited() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _called(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), name)


def _inherited() -> None:
    """Sockets, and files outside the scratch that can be written, among the open descriptors."""
    found = []
    for number in range(3, 64):
        with contextlib.suppress(OSError):
            target = str(Path(f"/proc/self/fd/{number}").readlink())
            if not target.startswith(("pipe:", "/dev/")):
                found.append(target)
    if not found:
        raise OSError("none")
