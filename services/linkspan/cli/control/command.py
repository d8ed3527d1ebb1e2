"""Makes an operator's command of a function: its parameters that are dataclasses become the options of their fields.

Modules of commands import nothing heavy at their top, so that help and completion are there at once.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from linkspan.cli.control.connection import choose
from linkspan.cli.control.profiles import profile_names
from linkspan.cli.output import Output

if TYPE_CHECKING:
    from linkspan.cli.control.screen import Screen
    from linkspan.cli.control.session import Session

_PANEL = "Connection and output"


@dataclass(frozen=True)
class Operator:
    """Who asks: how to reach the control API, and what to show."""

    control: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT,…",
            help="Control API of any replica; the next is asked where one is away. LINKSPAN_CONTROL does the same; "
            "127.0.0.1:50051 where nothing is said.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    token: Annotated[
        str | None, typer.Option(help="Says who asks; better in LINKSPAN_TOKEN.", rich_help_panel=_PANEL)
    ] = None
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Connection by name, see linkspan profile; or LINKSPAN_PROFILE.",
            rich_help_panel=_PANEL,
            autocompletion=profile_names,
        ),
    ] = None
    output: Annotated[
        Output, typer.Option("--output", "-o", help="For a person, or for a program.", rich_help_panel=_PANEL)
    ] = Output.TEXT
    utc: Annotated[
        bool, typer.Option("--utc", help="Times in UTC, not in this machine's zone.", rich_help_panel=_PANEL)
    ] = False

    @functools.cached_property
    def session(self) -> Session:
        """Raises UserMistake; it connects with its first call."""
        from linkspan.cli.control.session import Session

        return Session(choose(self.control, self.token, self.profile, os.environ))

    @functools.cached_property
    def screen(self) -> Screen:
        from linkspan.cli.control.screen import Screen

        return Screen(self.output, utc=self.utc)

    def close(self) -> None:
        if "session" in self.__dict__:
            self.session.close()


def operated(function: Callable[..., None]) -> Callable[..., None]:
    """``function`` takes an Operator first, whose options are listed last."""
    operator, *own = inspect.signature(function, eval_str=True).parameters.values()
    groups: dict[str, Any] = {one.name: one.annotation for one in (*own, operator) if is_dataclass(one.annotation)}
    flat = [part for one in (*own, operator) for part in _options(one)]

    @functools.wraps(function)
    def command(**given: Any) -> None:
        for name, made in groups.items():
            given[name] = made(**{one.name: given.pop(one.name) for one in fields(made)})
        try:
            function(**given)
        finally:
            given[operator.name].close()

    command.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in flat}
    return command


def _options(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    kind, made = inspect.Parameter.KEYWORD_ONLY, parameter.annotation
    if not is_dataclass(made):
        return [parameter.replace(kind=kind)]
    hints = get_type_hints(made, include_extras=True)
    return [
        inspect.Parameter(
            one.name,
            kind,
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
            annotation=hints[one.name],
        )
        for one in fields(made)
    ]
