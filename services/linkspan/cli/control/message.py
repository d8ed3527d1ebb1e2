"""``linkspan message``: one message, or the whole story of a correlation id."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.kernel.errors import UserMistake

if TYPE_CHECKING:
    from linkspan.control.v1.messages_pb2 import GetMessageResponse

_EVENT = re.compile(r"[^/\s]+/\d+:\d+")
#: Messages of a story that are shown whole.
STORY = 20


@operated
def message(
    operator: Operator,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="A message id, a correlation id, or an event as FLOW/PARTITION:OFFSET.",
            show_default=False,
        ),
    ] = None,
    *,
    event: Annotated[str | None, typer.Option(metavar="FLOW/PARTITION:OFFSET", help="The same as an option.")] = None,
    content: Annotated[bool, typer.Option("--content", help="With what the message says, as JSON.")] = False,
) -> None:
    """Show one message and everything that became of it.

    With a correlation id, all messages of that story are shown in order. Exit code 1: there is none.
    """
    from linkspan.cli.control.screen import as_json
    from linkspan.cli.control.views.message import story_view

    if name is not None and event is None and _EVENT.fullmatch(name):
        name, event = None, name
    if event is not None and name is None:
        found = [_event(operator, event, content)]
    elif name is not None and event is None:
        found = _named(operator, name, content)
    else:
        raise UserMistake("say a message id or a correlation id, or name an event as FLOW/PARTITION:OFFSET")
    screen = operator.screen
    if screen.json:
        screen.document({"messages": [as_json(one) for one in found]})
    else:
        screen.print(story_view(found, screen))


def _event(operator: Operator, event: str, content: bool) -> GetMessageResponse:
    from linkspan.control.v1.messages_pb2 import GetMessageRequest

    session = operator.session
    return session.ask(session.api.GetMessage, GetMessageRequest(event=event, content=content))


def _named(operator: Operator, name: str, content: bool) -> list[GetMessageResponse]:
    from linkspan.control.v1.messages_pb2 import GetMessageRequest

    session = operator.session
    try:
        found = session.ask(session.api.GetMessage, GetMessageRequest(message_id=name, content=content))
    except CommandEnded as ended:
        if ended.code is not ExitCode.NO:
            raise
    else:
        if found.message.correlation_id != name:  # a story has the id of its first message, where nobody gave one
            return [found]
    return _story(operator, name, content)


def _story(operator: Operator, correlation_id: str, content: bool) -> list[GetMessageResponse]:
    from linkspan.control.v1.messages_pb2 import ListMessagesRequest

    session = operator.session
    wanted = ListMessagesRequest(correlation_id=correlation_id, page_size=STORY)
    found = session.ask(session.api.ListMessages, wanted)
    if not found.messages:
        behind = f"; the ledger is {found.ledger.lag} records behind" if found.ledger.lag > 0 else ""
        raise CommandEnded(f"{correlation_id}: no message has this id or this correlation id{behind}", ExitCode.NO)
    if found.next_page_token:
        operator.screen.aside.print(
            f"only the newest {STORY} messages of this story; linkspan messages --correlation-id lists all"
        )
    inorder = sorted(found.messages, key=lambda one: (one.accepted_at.seconds, one.accepted_at.nanos))
    return [_event(operator, f"{one.flow}/{one.partition}:{one.offset}", content) for one in inorder]
