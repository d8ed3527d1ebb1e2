"""``linkspan dead-letters`` and ``dead-letter``: what waits for a decision, and one of them whole."""

from __future__ import annotations

from typing import Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import FlowArgument, Limit, PageToken, WhichLetters


@operated
def dead_letters(
    operator: Operator,
    which: WhichLetters,
    *,
    each: Annotated[bool, typer.Option("--each", help="One by one, with their names, instead of groups.")] = False,
    limit: Limit = 50,
    page_token: PageToken = "",
) -> None:
    """Show the messages that could not be delivered, why, and how many wait behind them.

    Letters that failed for the same reason are one group, with a fingerprint that redrive and discard take.
    Exit code 0, also where there are none.
    """
    from linkspan.cli.control.paging import up_to
    from linkspan.cli.control.views.letters import groups_view, letters_view
    from linkspan.control.v1.letters_pb2 import ListDeadLettersRequest

    wanted = ListDeadLettersRequest(filter=which.filter(), page_token=page_token)
    session, screen = operator.session, operator.screen
    api = session.api
    found = up_to(limit, wanted, lambda one: session.ask(api.ListDeadLetters, one), "letters")
    screen.show(found, lambda: (letters_view if each else groups_view)(found, screen))


@operated
def dead_letter(
    operator: Operator,
    flow: FlowArgument,
    name: Annotated[
        str, typer.Argument(metavar="PARTITION:OFFSET", help="As dead-letters --each shows it.", show_default=False)
    ],
) -> None:
    """Show one dead letter: its content, and what would be sent today.

    Exit code 1: the flow has no such dead letter.
    """
    from linkspan.cli.control.views.letters import letter_view
    from linkspan.control.v1.letters_pb2 import GetDeadLetterRequest

    session, screen = operator.session, operator.screen
    found = session.ask(session.api.GetDeadLetter, GetDeadLetterRequest(flow=flow, name=name))
    screen.show(found, lambda: letter_view(found, screen))
