"""How lists of messages and of conversations look."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from linkspan.cli.control.listing import Column, Listing
from linkspan.cli.control.screen import Screen, between, span, took
from linkspan.cli.control.views.status import ledger_line
from linkspan.control.v1 import messages_pb2 as pb

COLOURS = {
    "delivered": "green",
    "answered": "green",
    "dead-lettered": "bold red",
    "poison": "bold red",
    "overdue": "bold red",
    "expired": "red",
    "discarded": "red",
    "late": "yellow",
    "held": "yellow",
    "attempt-failed": "yellow",
    "accepted": "cyan",
}


def kind_text(kind: str) -> Text:
    """An outcome as people read it, in its colour."""
    shown = kind.replace("_", "-")
    return Text(shown, COLOURS.get(shown, ""))


def status_text(status: pb.MessageStatus.ValueType) -> Text:
    return kind_text(pb.MessageStatus.Name(status).removeprefix("MESSAGE_STATUS_").lower())


def messages_view(found: pb.ListMessagesResponse, screen: Screen) -> RenderableType:
    listing = Listing(
        Column("accepted"),
        Column("event"),
        Column("type", spare=5),
        Column("status"),
        Column("took", right=True, spare=2),
        Column("charged", right=True, spare=6),
        Column("key", spare=1),
        Column("message id", spare=4),
        Column("correlation id", spare=9),
        Column("reason", spare=8, folds=True),
    )
    for one in found.messages:
        listing.add(
            *(screen.moment(one.accepted_at), f"{one.flow}/{one.partition}:{one.offset}", one.type),
            *(status_text(one.status), _took(one), one.attempts, one.key if one.HasField("key") else "-"),
            *(one.message_id or "-", one.correlation_id or "-", _why(one)),
        )
    return _list("messages", listing, found, screen, "no messages fit")


def conversations_view(found: pb.ListConversationsResponse, screen: Screen) -> RenderableType:
    listing = Listing(
        Column("requested"),
        Column("state"),
        Column("took", right=True),
        Column("due", spare=2),
        Column("request", spare=3),
        Column("answer", spare=4),
        Column("correlation id"),
        Column("request id", spare=6),
        Column("answer id", spare=5),
    )
    for one in found.conversations:
        state = kind_text(pb.ConversationState.Name(one.state).removeprefix("CONVERSATION_STATE_").lower())
        listing.add(
            *(screen.moment(one.requested_at), state, took(one.took) if one.HasField("took") else "-"),
            *(screen.moment(one.due_at) or "-", one.request_flow, one.answer_flow or "-", one.correlation_id),
            *(one.request_message_id, one.answer_message_id or "-"),
        )
    none = "no conversations fit; linkspan insight finds them, for flows with an answer"
    return _list("conversations", listing, found, screen, none)


def _list(
    what: str,
    listing: Listing,
    found: pb.ListMessagesResponse | pb.ListConversationsResponse,
    screen: Screen,
    none: str,
) -> RenderableType:
    body = listing if listing.rows else Text(none)
    more = [Text(f"there are more {what}: --limit shows them", "dim")] if found.next_page_token else []
    return Group(body, *more, ledger_line(found.ledger, found.HasField("ledger"), screen))


def _took(message: pb.Message) -> str:
    if not message.delivered_at.seconds:
        return "-"
    return span(max(0.0, between(message.accepted_at, message.delivered_at)))


def _why(message: pb.Message) -> str:
    return ": ".join(part for part in (message.failure, message.reason) if part)
