"""How the command line behaves before any API is asked: its help, completion, mistakes and exit codes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog
from typer.main import get_command

from linkspan.cli.control.trail import Kind
from linkspan.cli.help_lines import LINES
from linkspan.cli.main import COMMANDS, build, main
from linkspan.kernel import commands
from linkspan.kernel.errors import UserMistake

OPERATORS = list(LINES["Look and decide, over the control API"])
HEAVY = ("aiokafka", "faust", "sqlalchemy", "fastapi", "grpc", "google.protobuf")
NEEDS_NO_REASON = {
    "messages": (),
    "dead-letters": (),
    "tail": (),
    "conversations": (),
    "audit-trail": (),
    "audit": (),
    "status": (),
    "message": ("some-id",),
    "dead-letter": ("orders", "0:1"),
}
NEEDS_REASON = {
    "pause": ("orders",),
    "resume": ("--destination", "store"),
    "reset-breaker": ("orders",),
    "log-level": ("debug",),
    "flush-queue": ("orders", "--yes"),
    "redrive": ("--all", "--yes"),
    "discard": ("--all", "--yes"),
    "replay": ("plan", "orders"),
}
#: Nothing listens there.
NOWHERE = ("--control", "127.0.0.1:9")


Linkspan = Callable[..., "Done"]


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def linkspan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Linkspan]:
    """Runs a command in this process, as a person without any settings. What it logs to is gone with the test."""
    handlers = logging.getLogger().handlers[:]
    for name in [name for name in os.environ if name.startswith("LINKSPAN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["linkspan", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    yield run
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers


@pytest.mark.parametrize("name", [name for names in LINES.values() for name in names if name in COMMANDS])
def test_the_list_of_commands_says_of_each_what_it_says_itself(name: str) -> None:
    try:
        group = get_command(build(name))
    except UserMistake as needs_an_extra:
        pytest.skip(str(needs_an_extra))
    listed = next(lines[name] for lines in LINES.values() if name in lines)
    said = (group.commands[name].help or "").split("\n\n")[0]  # type: ignore[attr-defined]
    assert " ".join(said.split()) == listed


def test_every_command_is_listed() -> None:
    assert COMMANDS.keys() <= {name for names in LINES.values() for name in names}


def test_every_kind_of_command_can_be_asked_for() -> None:
    kinds = {said for name, said in vars(commands).items() if name.isupper() and isinstance(said, str)}
    assert {kind.replace("-", "_") for kind in Kind} == kinds


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from linkspan.cli.main import main\n"
        f"for arguments in [['--help'], *([name, '--help'] for name in {OPERATORS!r})]:\n"
        "    sys.argv = ['linkspan', *arguments]\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        f"print('imported:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("imported: []\n"), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("dead",), {"dead-letters", "dead-letter"}),
        (("message", "--cont"), {"--control", "--content"}),
        (("messages", "--status", "de"), {"delivered", "dead-lettered"}),
        (("profiling", ""), {"enable", "disable", "show", "flame"}),
        (("audit", "--o"), {"--output"}),
        (("pause", "--profile", "p"), {"prod"}),
        (("pause", *NOWHERE, ""), set()),
    ],
)
def test_a_shell_completes_commands_options_and_values(
    linkspan: Linkspan, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], expected: set[str]
) -> None:
    assert linkspan("profile", "add", "prod", "--control", "a:1").code == 0
    monkeypatch.setenv("_LINKSPAN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(("linkspan", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    completed = linkspan()
    assert (set(completed.out.split()), completed.err) == (expected, "")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [*NEEDS_NO_REASON.items(), *((name, (*given, "--reason", "x")) for name, given in NEEDS_REASON.items())],
)
def test_where_no_control_api_answers_it_is_one_line_and_exit_code_3(
    linkspan: Linkspan, command: str, arguments: tuple[str, ...]
) -> None:
    done = linkspan(command, *arguments, *NOWHERE)
    assert (done.code, done.out, done.err.count("\n")) == (3, "", 1)
    assert done.err.startswith("linkspan: no control API answers: 127.0.0.1:9: Connection refused")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pause",), "Missing option '--reason'"),
        (("pause", "--reason", "x"), "name a flow, or a system with --destination"),
        (("resume", "orders", "--destination", "store", "--reason", "x"), "name a flow, or a system"),
        (
            ("redrive", "--reason", "x"),
            "say which: names as PARTITION:OFFSET, a filter such as --fingerprint, or --all",
        ),
        (("redrive", "3:1", "--reason", "x"), "--flow: names such as 3:1042 need their flow"),
        (("discard", "--all", "--failure", "poison", "--reason", "x"), "--all means all of a flow"),
        (("redrive", "--flow", "orders", "--since", "soon", "--reason", "x"), "--since soon: expected a time such as"),
        (("messages", "--since", "1h", "--until", "2h"), "--since 1h is not before --until 2h"),
        (("messages", "--status", "lost"), "'lost' is not one of"),
        (("messages", "--limit", "0"), "Invalid value for '--limit'"),
        (("message",), "say a message id or a correlation id"),
        (("flush-queue", "--reason", "x"), "name flows, or --all of them"),
        (("log-level", "loud", "--reason", "x"), "'loud' is not one of"),
        (("status", "--profile", "prod"), "profile prod:"),
        (("audit", "integration.yaml", "--control", "a:1"), "with FILE the log is read from Kafka itself"),
        (("audit-trail", "--kind", "flush_queue"), "Invalid value for '--kind': 'flush_queue' is not one of"),
        (("replay", "plan", "orders"), "Missing option '--reason'"),
        (("replay", "plan", "orders", "--offsets", "3", "--reason", "x"), "--offsets 3: expected PARTITION:FIRST-END"),
        (("replay", "plan", "orders", "--status", "lost", "--reason", "x"), "'lost' is not one of"),
        (("nothing",), "No such command 'nothing'"),
    ],
)
def test_a_mistake_is_one_line_that_names_it_and_exit_code_2(
    linkspan: Linkspan, arguments: tuple[str, ...], said: str
) -> None:
    done = linkspan(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("linkspan: ")
    assert said in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("command", ["ingress", "egress", "ledger", "insight"])
def test_what_kubernetes_sets_for_a_service_named_linkspan_is_no_port_of_ours(
    linkspan: Linkspan, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("LINKSPAN_PORT", "tcp://10.96.7.7:80")
    monkeypatch.setenv("LINKSPAN_CONTROL_PORT", "tcp://10.96.7.8:50051")
    done = linkspan(command, "no-such-file.yaml")
    assert (done.code, "no-such-file.yaml" in done.err) == (2, True), done.err
