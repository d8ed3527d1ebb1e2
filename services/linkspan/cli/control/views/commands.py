"""How commands look: the one just given, and the trail of all."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.text import Text

from linkspan.cli.control.listing import Column, Listing, plain
from linkspan.cli.control.screen import Screen
from linkspan.control.v1.commands_pb2 import Command


def command_view(command: Command) -> Text:
    return Text(plain(f"{command.subject}: {command.result}"), "" if command.effective else "yellow")


def trail_view(commands: Iterable[Command], screen: Screen) -> RenderableType:
    listing = Listing(
        Column("at"),
        Column("by"),
        Column("role", spare=2),
        Column("command", folds=True),
        Column("reason", folds=True),
        Column("result", folds=True),
        Column("offset", right=True, spare=3),
    )
    for one in commands:
        style = "" if one.effective else "yellow"
        cells = (screen.moment(one.at), one.by, one.role, _command(one), one.reason, one.result)
        listing.add(*cells, str(one.offset), style=style)
    return listing if listing.rows else Text("no commands fit")


def _command(one: Command) -> str:
    kind = one.kind.replace("_", " ")
    if one.subject.startswith(kind):
        return one.subject
    first, _, rest = one.subject.partition(" ")
    return f"{kind} {rest}" if kind.startswith(f"{first} ") else f"{kind} {one.subject}"
