"""The console script ``linkspan``: finds the command, and turns a person's mistake into one line and exit code 2."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer

from linkspan import __version__
from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.cli.help_lines import LINES
from linkspan.kernel.errors import KafkaAway, UserMistake

#: command -> where its function (or typer app) is; imported only when it is called, so that each starts fast.
COMMANDS = {
    "demo": "linkspan.cli.demo.command:demo",
    "send-plan": "linkspan.cli.demo.send:send_plan",
    "broker": "linkspan.broker.command:broker",
    "ingress": "linkspan.ingress.main:ingress",
    "egress": "linkspan.egress.main:egress",
    "insight": "linkspan.insight.main:insight",
    "ledger": "linkspan.ledger.main:ledger_app",
    "plan-manager": "linkspan.reference.plan_manager.main:plan_manager",
    "analysis": "linkspan.reference.analysis.main:analysis",
    "topics": "linkspan.cli.topics:topics",
    "compatible": "linkspan.cli.compatible:compatible",
    "shadow": "linkspan.cli.shadow:shadow",
    "rollout": "linkspan.cli.rollout.app:rollout",
    "restored": "linkspan.cli.restored:restored",
    "repartition": "linkspan.cli.repartition:repartition",
    "archive": "linkspan.cli.archive.app:archive",
    "trace": "linkspan.cli.trace.command:trace",
    "check": "linkspan.cli.check:check",
    "preflight": "linkspan.cli.preflight.command:preflight",
    "metrics": "linkspan.cli.observe.command:metrics",
    "alerts": "linkspan.cli.observe.command:alerts",
    "dashboards": "linkspan.cli.observe.command:dashboards",
    "audit": "linkspan.cli.control.audit:audit",
    "schemas": "linkspan.cli.schemas:schemas_app",
    "status": "linkspan.cli.control.status:status",
    "messages": "linkspan.cli.control.messages:messages",
    "message": "linkspan.cli.control.message:message",
    "tail": "linkspan.cli.control.tail:tail",
    "keyring": "linkspan.cli.keyring:keyring_app",
    "conversations": "linkspan.cli.control.conversations:conversations",
    "dead-letters": "linkspan.cli.control.letters:dead_letters",
    "dead-letter": "linkspan.cli.control.letters:dead_letter",
    "redrive": "linkspan.cli.control.decide:redrive",
    "discard": "linkspan.cli.control.decide:discard",
    "replay": "linkspan.cli.control.replay.app:replay",
    "pause": "linkspan.cli.control.switches:pause",
    "resume": "linkspan.cli.control.switches:resume",
    "reset-breaker": "linkspan.cli.control.switches:reset_breaker",
    "flush-queue": "linkspan.cli.control.flush:flush_queue",
    "log-level": "linkspan.cli.control.tuning:log_level",
    "profiling": "linkspan.cli.control.tuning:profiling",
    "keys": "linkspan.cli.control.keys:keys",
    "audit-trail": "linkspan.cli.control.trail:audit_trail",
    "profile": "linkspan.cli.control.profile_command:profile",
}


def main() -> None:
    """Exit codes: ``ended.ExitCode``."""
    _drop_service_links()
    try:
        code = build(_wanted(_words()))(standalone_mode=False, prog_name="linkspan")
    except CommandEnded as ended:
        _fail(str(ended), ended.code)
    except KafkaAway as error:
        _fail(str(error), ExitCode.AWAY)
    except (UserMistake, typer.TyperException) as error:
        said = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        _fail(said.replace(": Value error, ", ": "))  # pydantic's words, by which typer checks
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _drop_service_links() -> None:
    """In the namespace of a Service named ``linkspan`` Kubernetes sets LINKSPAN_PORT to ``tcp://ADDRESS:PORT``."""
    for name in ("LINKSPAN_PORT", "LINKSPAN_CONTROL_PORT"):
        if os.environ.get(name, "").startswith("tcp://"):
            del os.environ[name]


def build(name: str | None = None) -> typer.Typer:
    """The app with this command, or with all of them to be listed."""
    app = typer.Typer(
        name="linkspan",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    if name is not None:
        _add(app, name, _load(name))
        return app
    listed = {known: (line, panel) for panel, lines in LINES.items() for known, line in lines.items()}
    for known, (line, panel) in listed.items():
        if known in COMMANDS:
            app.command(known, help=line, rich_help_panel=panel)(_nothing)
    for other in COMMANDS.keys() - listed.keys():
        _add(app, other, _load(other))
    return app


def _add(app: typer.Typer, name: str, made: Any) -> None:
    if isinstance(made, typer.Typer):
        app.add_typer(made, name=name)
    else:
        app.command(name)(made)


def _nothing() -> None:
    """Stands in the list for a command, which is imported only when it is called."""


def _load(command: str) -> Any:
    module, _, attribute = COMMANDS[command].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("linkspan"):
            raise
        extra = {"broker": "broker", "demo": "broker,plans", "insight": "insight"}.get(command, "plans")
        raise UserMistake(
            f"{command} needs the package {error.name}: install it with pip install 'linkspan[{extra}]'"
        ) from error


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"linkspan {__version__}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """A bridge between two systems that loses nothing."""


def _words() -> list[str]:
    """What was given after our name, or what a shell wants completed."""
    if any(name in os.environ for name in ("_LINKSPAN_COMPLETE", "_TYPER_COMPLETE_ARGS")):
        return (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or "").split()[1:]
    return sys.argv[1:]


def _wanted(words: list[str]) -> str | None:
    first = next((word for word in words if not word.startswith("-")), None)
    return first if first in COMMANDS else None


def _fail(text: str, code: int = ExitCode.MISTAKE) -> None:
    for line in text.splitlines():
        if line.strip():
            sys.stderr.write(f"linkspan: {line}\n")
    sys.exit(code)
