"""``linkspan flush-queue``: gives up what of a flow is unfinished; nothing is deleted, each message is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import ReasonUnlessDry, check_reason, flow_names
from linkspan.kernel.errors import UserMistake

if TYPE_CHECKING:
    from linkspan.control.v1.commands_pb2 import FlushQueueResponse

    #: flow -> answer
    Answers = dict[str, FlushQueueResponse]

SECONDS = 60.0


@operated
def flush_queue(
    operator: Operator,
    flows: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FLOW]…", help="Names of flows.", show_default=False, autocompletion=flow_names),
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All flows.")] = False,
    reason: ReasonUnlessDry = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", "--confirm", help="Do not ask.")] = False,
) -> None:
    """Give up whatever of a flow is unfinished now.

    Those messages are never delivered; each is recorded as discarded, and stays in Kafka. Held ones, and what is
    accepted from now on, are not touched. Exit code 1: nothing is unfinished.
    """
    if bool(flows) == everything:
        raise UserMistake("name flows, or --all of them; linkspan status shows them")
    check_reason(reason, dry_run=dry_run)
    with operator.screen.busy("counting"):
        names = _all(operator) if everything else list(dict.fromkeys(flows or []))
        counted = {name: _flush(operator, name, reason, dry_run=True) for name in names}
    there = {name: one.messages for name, one in counted.items() if one.messages}
    if dry_run or not there:
        _show(operator, counted, "unfinished")
        raise typer.Exit(0 if there else 1)
    operator.screen.sure(f"give up for good: {_counts(there)}", yes=yes)
    with operator.screen.busy("giving up"):
        done = {name: _flush(operator, name, reason, expected=number) for name, number in there.items()}
    _show(operator, done, "given up")


def _all(operator: Operator) -> list[str]:
    from linkspan.control.v1.status_pb2 import GetStatusRequest

    session = operator.session
    return [one.flow for one in session.ask(session.api.GetStatus, GetStatusRequest()).flows]


def _flush(
    operator: Operator, flow: str, reason: str, *, dry_run: bool = False, expected: int = 0
) -> FlushQueueResponse:
    from linkspan.control.v1.commands_pb2 import FlushQueueRequest

    session = operator.session
    request = FlushQueueRequest(flow=flow, reason=reason or "only counted", dry_run=dry_run, expected=expected)
    return session.change(session.api.FlushQueue, request, SECONDS)


def _show(operator: Operator, answers: Answers, what: str) -> None:
    from linkspan.cli.control.screen import as_json

    if operator.screen.json:
        operator.screen.document({"flows": [{"flow": name} | as_json(one) for name, one in answers.items()]})
        return
    counts = {name: one.messages for name, one in answers.items()}
    operator.screen.console.print(f"{what}: {_counts(counts)}" if counts else "there are no flows")


def _counts(counts: dict[str, int]) -> str:
    from linkspan.cli.control.screen import number_of

    return ", ".join(f"{number_of(number, 'message')} of {name}" for name, number in counts.items())
