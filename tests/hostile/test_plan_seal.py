"""A reader that a plan file has taken over reaches nothing: the real process, with its code replaced by a traitor's."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import structlog

import linkspan
from linkspan.kernel.errors import Unavailable, UserMistake
from linkspan.reference.plans import confine
from linkspan.reference.plans.confine import extract_confined
from linkspan.reference.plans.limits import Limits

MARKED = "hush-5b1f"


@pytest.fixture
def taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The readers' sources, in a place of their own, with a traitor in them."""
    sources = tmp_path / "sources"
    shutil.copytree(Path(linkspan.__file__).parent, sources / "linkspan", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).with_name("traitor.py"), sources / "linkspan/reference/plans/dxf/extract.py")
    monkeypatch.setattr(confine, "_SOURCES", sources)
    return sources


async def told(tmp_path: Path) -> dict[str, str]:
    """What the traitor got, by what it tried."""
    secret = tmp_path / "token"
    secret.write_text(MARKED)
    listener, unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "s"))
    unix.listen()
    os.set_inheritable(listener.fileno(), True)
    with listener, unix:
        given = {
            "port": listener.getsockname()[1],
            "socket": str(tmp_path / "s"),
            "secret": str(secret),
            "outside": str(tmp_path / "outside"),
        }
        plan = f"0\nSECTION\n{json.dumps(given)}".encode()
        extract = await extract_confined(plan, "dxf", "it", Limits())
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert not (tmp_path / "outside").exists()
    return dict(said.split(": ", 1) for said in extract.reasons)


async def test_a_reader_that_was_taken_over_reaches_no_network_no_process_and_no_file_of_others(
    taken_over: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYSTEM_B_API_KEY", MARKED)
    found = await told(tmp_path)
    tried = {what: got for what, got in found.items() if what not in ("environment", "values")}
    assert len(tried) == 21
    assert {what for what, got in tried.items() if not got.startswith("no (")} == set()


async def test_the_environment_of_a_reader_is_an_allow_list(
    taken_over: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYSTEM_B_API_KEY", MARKED)
    monkeypatch.setenv("LD_PRELOAD_HINT", MARKED)
    found = await told(tmp_path)
    assert set(found["environment"].split()) <= {
        "HOME",
        "LANG",
        "LC_CTYPE",
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "PATH",
        "PYTHONHASHSEED",
        "PYTHONPATH",
        "TMPDIR",
    }
    assert MARKED not in found["values"]


def without_a_seal(sources: Path) -> None:
    """As on a kernel that offers neither."""
    path = sources / "linkspan/reference/plans/seal.py"
    path.write_text(path.read_text().replace('startswith("linux")', 'startswith("plan9")'))


async def test_a_missing_seal_is_said_once(taken_over: Path, tmp_path: Path) -> None:
    without_a_seal(taken_over)
    confine._say_unsealed.cache_clear()
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            assert (await told_unsealed(tmp_path))["connects by TCP"] == "YES"
    said = [line for line in logs if line["event"] == "plans are read without the whole seal"]
    assert [line["log_level"] for line in said] == ["warning"]
    assert "offers no seal: network and files are open" in said[0]["open"]


async def told_unsealed(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "token").write_text(MARKED)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # the parent is this test run: without a seal some attempts would end it
        given = {"port": listener.getsockname()[1], "only": ["connects by TCP"]}
        extract = await extract_confined(f"0\n{json.dumps(given)}".encode(), "dxf", "it", Limits())
    return dict(said.split(": ", 1) for said in extract.reasons)


async def test_where_the_seal_is_required_no_plan_is_read_without_it(taken_over: Path) -> None:
    without_a_seal(taken_over)
    with pytest.raises(Unavailable, match=r"LINKSPAN_PLANS_SEAL is required: .* offers no seal"):
        await extract_confined(b"{}", "dxf", "it", Limits.from_environment({"LINKSPAN_PLANS_SEAL": "required"}))


def test_a_wrong_word_for_the_seal_is_a_mistake_that_names_the_variable() -> None:
    with pytest.raises(UserMistake, match="LINKSPAN_PLANS_SEAL is 'yes': write required"):
        Limits.from_environment({"LINKSPAN_PLANS_SEAL": "yes"})
