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
        cells = (screen.moment(one.at), one.by, one.role, f"{one.kind} {one.subject}", one.reason, one.result)
        listing.add(*cells, str(one.offset), style=style)
    return listing if listing.rows else Text("no commands fit")
