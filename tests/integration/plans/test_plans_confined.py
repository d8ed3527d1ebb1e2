"""Whatever a plan does to its reader costs that message and nothing else."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from linkspan.kernel.errors import Poison
from linkspan.reference.plans.confine import extract_confined
from linkspan.reference.plans.limits import Limits


@pytest.fixture(autouse=True)
def leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert list(tmp_path.iterdir()) == []
    assert workers() == []


def workers() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if "linkspan.reference.plans.worker" in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


async def first_worker() -> psutil.Process:
    for _ in range(2000):
        if found := workers():
            return found[0]
        await asyncio.sleep(0.005)
    raise AssertionError("no reader was started")


async def until_limited(worker: psutil.Process) -> None:
    """The reader limits itself once Python is up, its files last."""
    for _ in range(2000):
        if worker.rlimit(psutil.RLIMIT_NOFILE) == (64, 64):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the reader did not limit itself")


async def test_a_plan_that_needs_too_much_memory_is_refused(house: bytes) -> None:
    with pytest.raises(Poison, match=r"^the plan needed more than 128 MB of memory to read$"):
        await extract_confined(house, "ifc", "the plan", Limits(memory_mb=128))


async def test_memory_that_runs_out_while_parsing_is_refused_too(house: bytes) -> None:
    # A list of numbers takes about ten times its text, once parsed.
    bomb = b"#900001=IFCCARTESIANPOINTLIST3D((" + b"(1.,2.,3.)," * 1_500_000 + b"(1.,2.,3.)));\nENDSEC;\nEND-ISO"
    # Native code that gets no memory may not survive to say so.
    with pytest.raises(Poison, match=r"needed more than 320 MB of memory|crashed its reader with signal SIG"):
        await extract_confined(house.replace(b"ENDSEC;\nEND-ISO", bomb), "ifc", "it", Limits(memory_mb=320))


async def test_a_plan_that_takes_too_much_processor_time_is_refused(plans: Path) -> None:
    drawing = (plans / "floorplan.dxf").read_bytes()
    with pytest.raises(Poison, match=r"^it took more than 1 s of processor time to read$"):
        await extract_confined(drawing, "dxf", "it", Limits(cpu_seconds=1))


async def test_a_reader_that_hangs_is_killed_after_its_wall_time(house: bytes) -> None:
    task = asyncio.create_task(extract_confined(house, "ifc", "it", Limits(seconds=2)))
    (await first_worker()).send_signal(signal.SIGSTOP)
    with pytest.raises(Poison, match=r"^it took longer than 2 s to read$"):
        await task


async def test_a_reader_that_crashes_is_named_by_its_signal(house: bytes) -> None:
    task = asyncio.create_task(extract_confined(house, "ifc", "it", Limits()))
    (await first_worker()).send_signal(signal.SIGSEGV)
    with pytest.raises(Poison, match=r"^it crashed its reader with signal SIGSEGV$"):
        await task


async def test_a_zip_bomb_stops_at_the_bound(house: bytes) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("plan.ifc", "w") as member:
        for _ in range(64):
            member.write(b" " * 1024 * 1024)
    assert len(buffer.getvalue()) < 100_000
    with pytest.raises(Poison, match=r"^it inflates to more than 16 MB$"):
        await extract_confined(buffer.getvalue(), "ifczip", "it", Limits(inflated_mb=16))


async def test_an_answer_beyond_its_bound_is_refused(house: bytes) -> None:
    with pytest.raises(Poison, match="the extract of it is larger than 0 MB"):
        await extract_confined(house, "ifc", "it", Limits(answer_mb=0))


async def test_a_cancelled_extraction_kills_its_reader(house: bytes) -> None:
    task = asyncio.create_task(extract_confined(house, "ifc", "it", Limits()))
    worker = await first_worker()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not worker.is_running()


async def test_the_reader_sees_no_secret_and_has_its_limits(house: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEM_A_CLIENT_SECRET", "hush")
    task = asyncio.create_task(extract_confined(house, "ifc", "it", Limits(memory_mb=900, cpu_seconds=40)))
    worker = await first_worker()
    await until_limited(worker)
    environment = worker.environ()
    assert "hush" not in repr(environment)
    assert environment.keys() & os.environ.keys() <= {"PATH", "LANG", "HOME", "LC_CTYPE"}
    assert worker.rlimit(psutil.RLIMIT_AS)[0] == 900 << 20
    assert worker.rlimit(psutil.RLIMIT_CPU) == (40, 41)
    assert worker.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert os.getpgid(worker.pid) == worker.pid
    await task


async def test_no_more_readers_run_than_allowed(house: bytes) -> None:
    tasks = [asyncio.create_task(extract_confined(house, "ifc", "it", Limits(at_once=2))) for _ in range(3)]
    most = 0
    while not all(task.done() for task in tasks):
        most = max(most, len(workers()))
        await asyncio.sleep(0.02)
    assert most == 2
    assert len({str(task.result()) for task in tasks}) == 1


async def test_limits_come_from_the_environment(house: bytes, extract: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKSPAN_PLANS_MEMORY_MB", "100")
    with pytest.raises(Poison, match=r"'house\.ifc' needed more than 100 MB of memory"):
        await extract("house.ifc", house)
