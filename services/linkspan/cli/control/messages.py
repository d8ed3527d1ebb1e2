"""``linkspan messages``: a list from the ledger, narrowed by whatever is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import Flow, Limit, PageToken, Since, Until, stamps

if TYPE_CHECKING:
    from linkspan.control.v1.messages_pb2 import ListMessagesRequest


class Status(StrEnum):
    """The names of MessageStatus, as people write them."""

    IN_FLIGHT = "in-flight"
    DELIVERED = "delivered"
    HELD = "held"
    DEAD_LETTERED = "dead-lettered"
    EXPIRED = "expired"
    FILTERED = "filtered"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    DISCARDED = "discarded"
    REDRIVEN = "redriven"


@dataclass(frozen=True)
class Wanted:
    """All that are given must fit."""

    flow: Flow = None
    status: Annotated[Status | None, typer.Option(help="Only with this status.")] = None
    type: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this kind, such as PlanUploaded.")] = None
    key: Annotated[str | None, typer.Option(help="Only of this key.")] = None
    message_id: Annotated[str | None, typer.Option(metavar="ID", help="Only with this id.")] = None
    correlation_id: Annotated[str | None, typer.Option(metavar="ID", help="Only of this story.")] = None
    since: Since = None
    until: Until = None

    def request(self, page_token: str = "") -> ListMessagesRequest:
        from linkspan.control.v1 import messages_pb2 as pb

        start, end = stamps(self.since, self.until)
        status = pb.MessageStatus.Value(f"MESSAGE_STATUS_{self.status.name if self.status else 'UNSPECIFIED'}")
        return pb.ListMessagesRequest(
            flow=self.flow or "",
            status=status,
            type=self.type or "",
            key=self.key or "",
            message_id=self.message_id or "",
            correlation_id=self.correlation_id or "",
            since=start,
            until=end,
            page_token=page_token,
        )


@operated
def messages(operator: Operator, wanted: Wanted, *, limit: Limit = 50, page_token: PageToken = "") -> None:
    """List messages, the newest first.

    They come from the ledger, which says how far behind it is. Exit code 0, also where none fits.
    """
    from linkspan.cli.control.paging import up_to
    from linkspan.cli.control.views.messages import messages_view

    request = wanted.request(page_token)
    session, screen = operator.session, operator.screen
    api = session.api
    found = up_to(limit, request, lambda one: session.ask(api.ListMessages, one), "messages")
    screen.show(found, lambda: messages_view(found, screen))
