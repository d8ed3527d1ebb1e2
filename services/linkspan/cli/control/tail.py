"""``linkspan tail``: messages and their outcomes as they happen."""

from __future__ import annotations

from typing import Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import Flow


@operated
def tail(
    operator: Operator,
    *,
    flow: Flow = None,
    key: Annotated[str | None, typer.Option(help="Only of this key.")] = None,
    correlation_id: Annotated[str | None, typer.Option(metavar="ID", help="Only of this story.")] = None,
    outcomes_only: Annotated[bool, typer.Option("--outcomes", help="Outcomes alone, no acceptances.")] = False,
) -> None:
    """Show messages and their outcomes as they happen, until Ctrl-C.

    With --output json each is an object on a line of its own.
    """
    from linkspan.cli.control.screen import as_json
    from linkspan.cli.control.views.tail import tail_line
    from linkspan.control.v1.messages_pb2 import TailMessagesRequest

    wanted = TailMessagesRequest(
        flow=flow or "", key=key or "", correlation_id=correlation_id or "", outcomes_only=outcomes_only
    )
    screen = operator.screen
    for found in operator.session.follow(lambda api: api.TailMessages, wanted, _lost):
        if screen.json:
            screen.document(as_json(found), indent=None)
        else:
            screen.console.print(tail_line(found, screen), soft_wrap=not screen.console.is_terminal)


def _lost(why: str) -> None:
    typer.echo(f"linkspan: {why}; trying again; what happens meanwhile is not shown", err=True)
