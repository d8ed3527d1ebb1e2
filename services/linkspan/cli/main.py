"""The console script ``linkspan``: finds the command, and turns a person's mistake into one line and exit code 2."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer

from linkspan import __version__
from linkspan.kernel.errors import UserMistake

#: command -> where its function (or typer app) is; imported only when it is called, so that each starts fast.
COMMANDS = {
    "demo": "linkspan.cli.demo.command:demo",
    "broker": "linkspan.broker.command:broker",
    "ingress": "linkspan.ingress.main:ingress",
    "egress": "linkspan.egress.main:egress",
    "ledger": "linkspan.ledger.main:ledger_app",
    "plan-manager": "linkspan.reference.plan_manager.main:plan_manager",
    "analysis": "linkspan.reference.analysis.main:analysis",
    "topics": "linkspan.cli.topics:topics",
    "check": "linkspan.cli.check:check",
    "audit": "linkspan.cli.audit:audit",
    "dead-letters": "linkspan.cli.letters:dead_letters",
    "redrive": "linkspan.cli.letters:redrive",
    "discard": "linkspan.cli.letters:discard",
    "schemas": "linkspan.cli.schemas:schemas_app",
}


def main() -> None:
    """Exit codes: 0 done, 1 the answer is no (a check failed), 2 a mistake in what was given."""
    try:
        code = build(_wanted(sys.argv[1:]))(standalone_mode=False)
    except (UserMistake, typer.TyperException) as error:
        _fail(error.format_message() if isinstance(error, typer.TyperException) else str(error))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def build(names: list[str]) -> typer.Typer:
    """The app with these commands."""
    app = typer.Typer(
        name="linkspan",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in names:
        try:
            made = _load(name)
        except UserMistake:
            if len(names) == 1:
                raise
            continue  # an extra that is not installed: its commands are not listed
        if isinstance(made, typer.Typer):
            app.add_typer(made, name=name)
        else:
            app.command(name)(made)
    return app


def _load(command: str) -> Any:
    module, _, attribute = COMMANDS[command].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("linkspan"):
            raise
        extra = {"broker": "broker", "demo": "broker,plans"}.get(command, "plans")
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


def _wanted(arguments: list[str]) -> list[str]:
    first = next((argument for argument in arguments if not argument.startswith("-")), None)
    if first in COMMANDS:
        return [first]
    return ["broker"] if "--version" in arguments else list(COMMANDS)


def _fail(text: str) -> None:
    lines = [line for line in text.splitlines() if line.strip()] or ["something was wrong"]
    for line in lines:
        sys.stderr.write(f"linkspan: {line}\n")
    sys.exit(2)
