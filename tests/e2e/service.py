"""``python service.py start|stop NAME``: what ``$START`` and ``$STOP`` of a runbook are in a test.

RUNBOOK_SERVICES is a JSON of name -> arguments; pids and logs lie beside it.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

SECONDS = 120


def start(name: str, folder: Path, arguments: list[str]) -> None:
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "linkspan", name, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    (folder / f"{name}.pid").write_text(str(process.pid))
    deadline = time.monotonic() + SECONDS
    while b"ready " not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"{name} is not ready: {log.read_text()[-2000:]}")
        time.sleep(0.1)


def stop(name: str, folder: Path) -> None:
    pid = folder / f"{name}.pid"
    if not pid.exists():
        return
    try:
        process = psutil.Process(int(pid.read_text()))
        process.terminate()
        process.wait(30)
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        process.kill()
    pid.unlink()


if __name__ == "__main__":
    verb, service = sys.argv[1:]
    described = Path(os.environ["RUNBOOK_SERVICES"])
    if verb == "start":
        start(service, described.parent, json.loads(described.read_text())[service])
    else:
        stop(service, described.parent)
