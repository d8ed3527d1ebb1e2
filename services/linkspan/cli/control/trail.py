"""``linkspan audit-trail``: the control topic as people read it."""

from __future__ import annotations

from typing import Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import Limit, PageToken


@operated
def audit_trail(
    operator: Operator,
    *,
    kind: Annotated[str | None, typer.Option(help="Only such as pause, redrive or flush_queue.")] = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Only what this identity gave.")] = None,
    limit: Limit = 50,
    page_token: PageToken = "",
) -> None:
    """Show who commanded what, when and why.

    The newest first, with what was refused.
    """
    from linkspan.cli.control.paging import up_to
    from linkspan.cli.control.views.commands import trail_view
    from linkspan.control.v1.commands_pb2 import ListCommandsRequest

    session, screen = operator.session, operator.screen
    api = session.api
    wanted = ListCommandsRequest(kind=kind or "", by=by or "", page_token=page_token)
    found = up_to(limit, wanted, lambda one: session.ask(api.ListCommands, one), "commands")
    screen.show(found, lambda: trail_view(found.commands, screen))
