"""What holds the event loop up is found with its stack, and only while somebody wants to know."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from linkspan.cli.control.flame import flame
from linkspan.control.profile import ProfileView
from linkspan.control.v1.commands_pb2 import GetProfileRequest
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.telemetry.profiling import Profile


def watching() -> bool:
    return any(thread.name == "linkspan-stalls" for thread in threading.enumerate())


async def nobody_watches() -> None:
    async with asyncio.timeout(5):
        while watching():  # noqa: ASYNC110 - a thread ends
            await asyncio.sleep(0.01)


def hold_everybody_up(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_stall_is_known_with_its_length_and_the_stack_that_caused_it() -> None:
    profile = Profile()
    profile.measure(1.0, detailed=True)
    await asyncio.sleep(0.2)
    hold_everybody_up(0.6)
    await asyncio.sleep(0.3)
    profile.measure(0.0, detailed=False)
    answer = ProfileView(profile).get_profile(GetProfileRequest(slowest=50))
    (stall,) = [one for one in answer.stalls if "hold_everybody_up" in one.stack.splitlines()[-1]]
    assert stall.took.ToTimedelta().total_seconds() > 0.4
    assert abs(stall.at.ToDatetime().timestamp() - time.time()) < 86_400


async def test_a_loop_that_waits_does_not_stall_and_nothing_watches_when_it_is_off() -> None:
    await nobody_watches()  # a test before this one stopped its watch, and did not wait for the thread
    profile = Profile()
    assert profile.sample("m") is None
    assert not watching()
    profile.measure(0.5, detailed=False)
    assert watching()
    await asyncio.sleep(0.5)
    profile.measure(0.0, detailed=False)
    assert profile.stalls is not None
    assert not [one for one in profile.stalls.longest(10) if "test_profiling" in one.stack.splitlines()[-1]]
    await nobody_watches()


async def test_the_slowest_operations_name_their_messages() -> None:
    profile = Profile()
    profile.measure(1.0, detailed=True)
    for number in range(30):
        measured = profile.sample(f"m{number}")
        assert measured is not None
        measured.stage("prepare")
        profile.add("message", float(number), f"m{number}")
    profile.measure(0.0, detailed=False)
    answer = ProfileView(profile).get_profile(GetProfileRequest(slowest=3))
    assert [(one.stage, one.message_id) for one in answer.slowest_operations] == [
        ("message", "m29"),
        ("message", "m28"),
        ("message", "m27"),
    ]


BUSY = "import time\ndef burn():\n    while True: sum(range(1000))\nburn()"


def test_a_flame_graph_shows_where_a_process_spends_its_time(tmp_path: Path) -> None:
    if not (shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))):
        pytest.skip("needs py-spy: pip install 'linkspan[profiling]'")
    with subprocess.Popen([sys.executable, "-c", BUSY]) as process:
        try:
            time.sleep(1)
            flame(process.pid, seconds=2, output=tmp_path / "flame.svg", rate=50, idle=False)
        except UserMistake as refused:
            if "ermission" in str(refused):
                pytest.skip(f"this machine does not let a process trace another: {refused}")
            raise
        finally:
            process.kill()
    drawn = (tmp_path / "flame.svg").read_text()
    assert "<svg" in drawn
    assert "burn" in drawn


def test_a_process_that_is_not_there_is_a_mistake_in_one_line() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with pytest.raises(UserMistake, match=rf"process {gone.pid} cannot be watched: |flame needs the program py-spy"):
        flame(gone.pid, seconds=1, output=Path(os.devnull + "-none"), rate=10, idle=False)
