"""What a log line has, that floods are counted, and what becomes of files."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import structlog

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.telemetry.logfile import ARCHIVE, DailyFile, archive, log_file
from linkspan.kernel.telemetry.repeats import TOLD, WINDOW, Repeats

PROLOGUE = """
import logging, structlog
from linkspan.kernel.telemetry.logs import configure_logs, set_level, tell_left_out
configure_logs("egress")
log = structlog.get_logger()
"""


def lines(program: str, **environ: str) -> list[dict[str, Any]]:
    """Of a process whose stderr is no terminal."""
    said = subprocess.run(
        [sys.executable, "-c", PROLOGUE + program], env=os.environ | environ, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in said.stderr.splitlines()]


def test_a_line_is_json_with_its_context_at_top_level_and_the_error_in_one_object() -> None:
    told, foreign = lines("""
try:
    raise ValueError("no such plan")
except ValueError:
    log.exception("it failed", correlationId="c", messageId="m", traceId="t", flow="f")
logging.getLogger("aiokafka").error("%s is away", "a broker")
""")
    error = told.pop("error")
    assert dt.datetime.fromisoformat(told.pop("timestamp")).tzinfo is not None
    facts = {"correlationId": "c", "messageId": "m", "traceId": "t", "flow": "f"}
    assert told == {"level": "error", "message": "it failed", "service": "egress", **facts}
    assert error["message"] == "no such plan"
    assert "ValueError: no such plan" in error["stack"]
    assert (foreign["level"], foreign["message"], foreign["service"]) == ("error", "a broker is away", "egress")


def test_the_level_changes_while_the_process_runs() -> None:
    told = lines("""
log.debug("one")
set_level("debug")
log.debug("two")
set_level("error")
log.warning("three")
""")
    assert [line["message"] for line in told] == ["two"]


@pytest.mark.parametrize("tell", ['log.warning("away", flow="f", n=n)', 'logging.getLogger("x").warning("away")'])
def test_a_flood_is_told_a_few_times_and_then_counted(tell: str) -> None:
    told = lines(f"""
from linkspan.kernel.telemetry import repeats
for n in range(1000):
    {tell}
log.warning("away", flow="other")
repeats.WINDOW = 0
tell_left_out()
""")
    *first, other, count = told
    assert [line["message"] for line in first] == ["away"] * TOLD
    assert other["flow"] == "other"
    assert (count["message"], count["leftOut"], count["level"]) == ("away", 1000 - TOLD, "warning")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def told_by(repeats: Repeats, **event: Any) -> bool:
    try:
        repeats(None, "", event)
    except structlog.DropEvent:
        return False
    return True


def test_nothing_is_left_out_but_what_repeats_within_the_window() -> None:
    told: list[dict[str, Any]] = []
    clock = Clock()
    repeats = Repeats(lambda event: told.append(dict(event)), clock)
    same = {"level": "warning", "event": "attempt failed", "flow": "f", "result": "rejected"}
    assert [told_by(repeats, **same, messageId=str(n)) for n in range(TOLD + 3)] == [True] * TOLD + [False] * 3
    for other in ({"flow": "g"}, {"result": "transient"}, {"event": "else"}, {"level": "error"}, {"each": True}):
        assert told_by(repeats, **(same | other))
    assert all(told_by(repeats, level="info", event="told") for _ in range(100))
    clock.now = WINDOW
    assert told_by(repeats, **same)
    (count,) = told
    assert count == same | {"leftOut": 3, "seconds": WINDOW}
    clock.now *= 3
    repeats.overdue()
    assert len(told) == 1, "one line was no flood"


def test_a_file_has_json_lines_and_a_new_day_begins_a_new_file(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "egress.log"
    told = lines("log.info('delivered', flow='f')", LINKSPAN_LOG_FILE=str(tmp_path / "logs" / "{service}.log"))
    assert [json.loads(line) for line in file.read_text().splitlines()] == told
    handler = DailyFile(file)
    today = handler.rolloverAt
    handler.rolloverAt = int(time.time()) - 1
    handler.write('{"message": "tomorrow"}')
    handler.close()
    assert file.read_text() == '{"message": "tomorrow"}\n'
    (before,) = (path for path in file.parent.glob("egress.log.*"))
    assert [json.loads(line) for line in before.read_text().splitlines()] == told
    assert handler.rolloverAt == today


def test_files_of_more_than_thirty_days_ago_are_in_the_archive_and_none_is_lost(tmp_path: Path) -> None:
    path, today = tmp_path / "egress.log", dt.date(2026, 3, 31)
    for day in (today, dt.date(2026, 3, 1), dt.date(2026, 2, 28), dt.date(2025, 12, 31)):
        path.with_name(f"egress.log.{day}").write_text(f"of {day}\n")
    for other in ("egress.log", "egress.log.old-copies", "ingress.log.2025-12-31"):
        (tmp_path / other).write_text("stays")
    archive(path, today)
    names = {found.name for found in tmp_path.iterdir()}
    assert names == {
        "egress.log", "egress.log.2026-03-31", "egress.log.2026-03-01", "egress.log.old-copies",
        "ingress.log.2025-12-31", ARCHIVE,
    }  # fmt: skip
    archived = {found.name: gzip.decompress(found.read_bytes()).decode() for found in (tmp_path / ARCHIVE).iterdir()}
    assert archived == {f"egress.log.{day}.gz": f"of {day}\n" for day in ("2026-02-28", "2025-12-31")}


def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    environ = {"LINKSPAN_LOG_FILE": str(tmp_path / "all.log")}
    held = log_file("ingress", environ)
    assert held is not None
    with pytest.raises(UserMistake, match=r"all\.log is written by another process; give each its own"):
        log_file("egress", environ)
    held.close()
    again = log_file("egress", environ)
    assert again is not None
    again.close()


def test_a_file_that_cannot_be_written_is_a_mistake_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserMistake, match=r"LINKSPAN_LOG_FILE: .*/file/egress.log cannot be written: "):
        log_file("egress", {"LINKSPAN_LOG_FILE": str(tmp_path / "file" / "{service}.log")})


def test_a_full_disk_costs_lines_and_not_the_process(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "full.log").symlink_to("/dev/full")
    handler = DailyFile(tmp_path / "full.log")
    for _ in range(3):
        handler.write("a line")
    handler.close()
    assert capsys.readouterr().err.count("No space left on device") == 1
