"""Options that several operator's commands have."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from linkspan.cli.when import span
from linkspan.kernel.errors import UserMistake

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from linkspan.control.v1.letters_pb2 import LetterFilter


def flow_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """For completion: asks the control API for a moment; none where it does not answer."""
    from linkspan.cli.control.connection import choose
    from linkspan.cli.control.session import Session
    from linkspan.cli.ended import CommandEnded
    from linkspan.control.v1.status_pb2 import GetStatusRequest

    given = ctx.params
    try:
        session = Session(choose(given.get("control"), given.get("token"), given.get("profile"), os.environ))
        found = session.ask(session.api.GetStatus, GetStatusRequest(), 1.0)
    except (CommandEnded, UserMistake):
        return []
    return [one.flow for one in found.flows if one.flow.startswith(incomplete)]


Flow = Annotated[
    str | None, typer.Option(metavar="FLOW", help="Only this flow.", autocompletion=flow_names, show_default=False)
]
FlowArgument = Annotated[
    str, typer.Argument(metavar="FLOW", help="Name of a flow.", show_default=False, autocompletion=flow_names)
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept with the command.", show_default=False)]
ReasonUnlessDry = Annotated[
    str,
    typer.Option(
        metavar="TEXT", help="Why; it is kept with the command. Only --dry-run does without.", show_default=False
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="From then on: ISO 8601, or how long ago (2h, 30m, 1d).")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Before then.")]
Limit = Annotated[int, typer.Option(min=1, help="So many at most.")]
PageToken = Annotated[
    str, typer.Option(metavar="TOKEN", help="Goes on where an answer with next_page_token ended.", show_default=False)
]
PAGE = 1000


class Failure(StrEnum):
    """Classes of failure that make a dead letter."""

    REJECTED = "rejected"
    POISON = "poison"
    TRANSIENT = "transient"
    CONFLICT = "conflict"


def check_reason(reason: str, *, dry_run: bool) -> None:
    """Raises UserMistake."""
    if not (dry_run or reason.strip()):
        raise UserMistake("--reason: say why, it is kept with the command")


@dataclass(frozen=True)
class WhichLetters:
    """All that are given must fit."""

    flow: Flow = None
    failure: Annotated[Failure | None, typer.Option(help="Only of this class.")] = None
    fingerprint: Annotated[str | None, typer.Option(metavar="HASH", help="Only of this group.")] = None
    key: Annotated[str | None, typer.Option(help="Only of this key.")] = None
    message_id: Annotated[str | None, typer.Option(metavar="ID", help="Only of this message.")] = None
    since: Since = None
    until: Until = None

    @property
    def narrowed(self) -> bool:
        """Whether anything but the flow says which."""
        return any((self.failure, self.fingerprint, self.key, self.message_id, self.since, self.until))

    def filter(self, names: list[str] | None = None) -> LetterFilter:
        """Raises UserMistake for a time that is none."""
        from linkspan.control.v1.letters_pb2 import LetterFilter

        start, end = stamps(self.since, self.until)
        return LetterFilter(
            flow=self.flow or "",
            names=names or [],
            failure=self.failure or "",
            fingerprint=self.fingerprint or "",
            key=self.key or "",
            message_id=self.message_id or "",
            since=start,
            until=end,
        )


def stamps(since: str | None, until: str | None) -> tuple[Timestamp | None, Timestamp | None]:
    """Raises UserMistake that names the option."""
    start, end = span(("--since", since), ("--until", until))
    return stamp(start), stamp(end)


def stamp(micros: int | None) -> Timestamp | None:
    from google.protobuf.timestamp_pb2 import Timestamp

    if micros is None:
        return None
    made = Timestamp()
    made.FromMicroseconds(micros)
    return made
