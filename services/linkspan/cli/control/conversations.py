"""``linkspan conversations``: requests and their answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import Flow, Limit, PageToken


class State(StrEnum):
    WAITING = "waiting"
    ANSWERED = "answered"
    OVERDUE = "overdue"
    LATE = "late"


@operated
def conversations(
    operator: Operator,
    *,
    state: Annotated[State | None, typer.Option(help="Only in this state.")] = None,
    flow: Flow = None,
    correlation_id: Annotated[str | None, typer.Option(metavar="ID", help="Only this one.")] = None,
    limit: Limit = 50,
    page_token: PageToken = "",
) -> None:
    """List requests and their answers from the other direction.

    They are matched by linkspan insight. Exit code 0, also where none fits.
    """
    from linkspan.cli.control.paging import up_to
    from linkspan.cli.control.views.messages import conversations_view
    from linkspan.control.v1 import messages_pb2 as pb

    wanted = pb.ListConversationsRequest(
        state=pb.ConversationState.Value(f"CONVERSATION_STATE_{state.name if state else 'UNSPECIFIED'}"),
        flow=flow or "",
        correlation_id=correlation_id or "",
        page_token=page_token,
    )
    session, screen = operator.session, operator.screen
    api = session.api
    found = up_to(limit, wanted, lambda one: session.ask(api.ListConversations, one), "conversations")
    screen.show(found, lambda: conversations_view(found, screen))
