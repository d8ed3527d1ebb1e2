"""`linkspan send-plan`: what it says before, and instead of, an analysis."""

import socket
import sys
from pathlib import Path

import pytest

from linkspan.cli.main import main


@pytest.fixture(autouse=True)
def plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKSPAN_PLAIN_TEXT", "development")
    monkeypatch.delenv("INTEGRATION_MODE", raising=False)


def sent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit code and the one line on stderr."""
    monkeypatch.setattr(sys, "argv", ["linkspan", "send-plan", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    (line,) = capsys.readouterr().err.splitlines()
    return int(left.value.code or 0), line


def test_an_address_that_is_none_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = sent(monkeypatch, capsys, "--plan-manager", "plan-manager:8081")
    assert (code, "write http://host:port" in line) == (2, True)


def test_a_file_that_is_not_there_is_named_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, line = sent(monkeypatch, capsys, str(tmp_path / "tower.ifc"))
    assert (code, f"{tmp_path / 'tower.ifc'}: there is no such file" in line) == (2, True)


def test_a_plan_manager_that_is_away_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plan = tmp_path / "plan.dxf"
    plan.write_bytes(b"0")
    with socket.socket() as silent:  # it does not listen, and nobody else can
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        code, line = sent(monkeypatch, capsys, str(plan), "--plan-manager", url)
    assert code == 3
    assert line.startswith(f"linkspan: the plan manager at {url} does not answer")


def test_plain_text_is_refused_where_nobody_allowed_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LINKSPAN_PLAIN_TEXT")
    code, line = sent(monkeypatch, capsys, "--plan-manager", "http://plans.example.com")
    assert (code, "SYSTEM_A_ENDPOINT" in line) == (2, True)


def test_production_takes_no_default_for_the_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LINKSPAN_PLAIN_TEXT")
    monkeypatch.setenv("INTEGRATION_MODE", "production")
    code, line = sent(monkeypatch, capsys, "--plan-manager", "https://plans.example.com", "--client-id", "shop")
    assert (code, line) == (2, "linkspan: SYSTEM_A_CLIENT_SECRET is not set; production takes no default")
