"""``linkspan replay plan``: what a replay would come to, frozen; nothing is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.messages import Status
from linkspan.cli.control.options import FlowArgument, Reason, Since, Until, stamps
from linkspan.kernel.errors import UserMistake

if TYPE_CHECKING:
    from linkspan.control.v1.messages_pb2 import MessageStatus
    from linkspan.control.v1.replays_pb2 import OffsetRange, PlanReplayRequest, PlanReplayResponse

_OFFSETS = re.compile(r"(\d{1,9}):(\d{1,18})-(\d{1,18})?\Z")


@dataclass(frozen=True)
class WhichEvents:
    """All that are given must fit; of an option that is repeated, one."""

    since: Since = None
    until: Until = None
    status: Annotated[
        list[Status] | None, typer.Option(help="Only with this status now; may be repeated, as those below.")
    ] = None
    not_status: Annotated[list[Status] | None, typer.Option(help="Only without this status.")] = None
    key: Annotated[list[str] | None, typer.Option(help="Only of this key.")] = None
    message_id: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only with this id.")] = None
    correlation_id: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only of this story.")] = None
    type: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only of this kind, such as PlanUploaded.")] = (
        None
    )
    offsets: Annotated[
        list[str] | None,
        typer.Option(
            metavar="P:FIRST-END", help="Only these of partition P, before END; without END to the log's end."
        ),
    ] = None
    transform: Annotated[
        str, typer.Option(metavar="HASH", help="Only what was made by the transform of this hash.", show_default=False)
    ] = ""
    where: Annotated[
        str,
        typer.Option(
            metavar="JSONATA", help="Only where this is true of {header, payload, metadata}.", show_default=False
        ),
    ] = ""
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", help="Only dead letters, and what waits behind them.")
    ] = False

    def request(self, flow: str, reason: str) -> PlanReplayRequest:
        """Raises UserMistake."""
        from linkspan.control.v1.replays_pb2 import PlanReplayRequest

        start, end = stamps(self.since, self.until)
        return PlanReplayRequest(
            flow=flow,
            reason=reason,
            since=start,
            until=end,
            keys=self.key,
            message_ids=self.message_id,
            correlation_ids=self.correlation_id,
            types=self.type,
            statuses=_statuses(self.status),
            not_statuses=_statuses(self.not_status),
            transform=self.transform,
            predicate=self.where,
            offsets=[_span(one) for one in self.offsets or ()],
            dead_letters=self.dead_letters,
        )


@operated
def plan(
    operator: Operator,
    flow: FlowArgument,
    which: WhichEvents,
    *,
    reason: Reason,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show what the transform makes of each sample today, and what it made then.")
    ] = False,
    samples: Annotated[int, typer.Option(min=1, max=100, help="So many samples.")] = 5,
    rate: Annotated[
        float, typer.Option(min=0, metavar="PER-SECOND", help="For the estimated time; 0: as fast as it was of late.")
    ] = 0,
) -> None:
    """Count what a replay would come to, and freeze the list of its events. Nothing is sent.

    A replica reads the flow's events and outcomes to their ends. Exit code 1: no event fits.
    """
    from linkspan.cli.control.views.plan import plan_view

    request = which.request(flow, reason)
    request.diff, request.samples, request.rate = diff, samples, rate
    found = _planned(operator, request)
    screen = operator.screen
    screen.show(found.frozen, lambda: plan_view(found.frozen, screen))
    if not found.frozen.records:
        raise typer.Exit(1)


def _planned(operator: Operator, request: PlanReplayRequest) -> PlanReplayResponse:
    """The answer with the plan."""
    from linkspan.cli.ended import CommandEnded, ExitCode

    session = operator.session
    with operator.screen.telling("a replica reads the log") as tell:
        for answer in session.listen(session.api.PlanReplay, request):
            if answer.plan:
                return answer
            share = answer.scanned / answer.total if answer.total else 1.0
            tell(f"{answer.scanned:,} of {answer.total:,} records read ({share:.0%}), {answer.selected:,} events fit")
    raise CommandEnded(f"{session.address} ended before the plan was frozen", ExitCode.AWAY)


def _statuses(wanted: list[Status] | None) -> list[MessageStatus.ValueType]:
    from linkspan.control.v1.messages_pb2 import MessageStatus

    return [MessageStatus.Value(f"MESSAGE_STATUS_{one.name}") for one in wanted or ()]


def _span(text: str) -> OffsetRange:
    """Raises UserMistake."""
    from linkspan.control.v1.replays_pb2 import OffsetRange

    found = _OFFSETS.match(text)
    if found is None:
        raise UserMistake(f"--offsets {text}: expected PARTITION:FIRST-END, such as 3:1000-2000, or 3:1000-")
    return OffsetRange(partition=int(found[1]), first=int(found[2]), end=int(found[3] or 0))
