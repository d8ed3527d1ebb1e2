"""``linkspan redrive`` and ``discard``: decisions about dead letters, counted before they are taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import ReasonUnlessDry, WhichLetters, Yes, check_reason
from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.kernel.errors import UserMistake

if TYPE_CHECKING:
    from linkspan.cli.control.session import Session
    from linkspan.control.v1.letters_pb2 import DiscardResponse, LetterFilter, RedriveResponse

    Decide = Callable[[LetterFilter, bool, int], RedriveResponse | DiscardResponse]

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[PARTITION:OFFSET]…", help="By name, as dead-letters --each shows them.")
]
Everything = Annotated[bool, typer.Option("--all", help="All dead letters of the flow, or of all flows.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count.")]
#: For so many letters at once.
SECONDS = 300.0


@operated
def redrive(
    operator: Operator,
    names: Names = None,
    *,
    which: WhichLetters,
    everything: Everything = False,
    reason: ReasonUnlessDry = "",
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Deliver dead letters again, and then the messages that wait behind them, in order.

    Owners of the partitions do so within a second; linkspan message shows what came of each. Exit code 1: none fits.
    """
    chosen = _chosen(names or [], which, everything=everything)
    check_reason(reason, dry_run=dry_run)
    _decide(operator, "redrive", _redrive(operator.session, reason), chosen, dry_run=dry_run, yes=yes)


@operated
def discard(
    operator: Operator,
    names: Names = None,
    *,
    which: WhichLetters,
    everything: Everything = False,
    reason: ReasonUnlessDry = "",
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Give dead letters up for good, and deliver the messages that wait behind them, in order.

    Exit code 1: none fits.
    """
    chosen = _chosen(names or [], which, everything=everything)
    check_reason(reason, dry_run=dry_run)
    _decide(operator, "discard", _discard(operator.session, reason), chosen, dry_run=dry_run, yes=yes)


def _redrive(session: Session, reason: str) -> Decide:
    from linkspan.control.v1.letters_pb2 import RedriveRequest

    def give(chosen: LetterFilter, dry_run: bool, expected: int) -> RedriveResponse:
        request = RedriveRequest(filter=chosen, reason=reason, dry_run=dry_run, expected=expected)
        return session.change(session.api.Redrive, request, SECONDS)

    return give


def _discard(session: Session, reason: str) -> Decide:
    from linkspan.control.v1.letters_pb2 import DiscardRequest

    def give(chosen: LetterFilter, dry_run: bool, expected: int) -> DiscardResponse:
        request = DiscardRequest(filter=chosen, reason=reason, dry_run=dry_run, expected=expected)
        return session.change(session.api.Discard, request, SECONDS)

    return give


def _chosen(names: list[str], which: WhichLetters, *, everything: bool) -> LetterFilter:
    if everything and (names or which.narrowed):
        raise UserMistake("--all means all of a flow: leave it out, or the names and filters")
    if not (everything or names or which.narrowed):
        raise UserMistake("say which: names as PARTITION:OFFSET, a filter such as --fingerprint, or --all")
    if names and which.flow is None:
        raise UserMistake("--flow: names such as 3:1042 need their flow")
    return which.filter(list(dict.fromkeys(names)))


def _decide(operator: Operator, what: str, give: Decide, chosen: LetterFilter, *, dry_run: bool, yes: bool) -> None:
    from linkspan.cli.control.screen import number_of

    screen = operator.screen
    with screen.busy("counting"):
        counted = give(chosen, True, 0)
    if not counted.letters:
        raise CommandEnded(f"no dead letter fits, nothing to {what}; linkspan dead-letters shows them", ExitCode.NO)
    where = f"of {chosen.flow}" if chosen.flow else "of all flows"
    letters, behind = number_of(counted.letters, "dead letter"), number_of(counted.waiting, "message")
    meant = f"{letters} {where}, with {behind} waiting behind"
    if dry_run:
        screen.show(counted, lambda: meant)
        return
    screen.sure(f"{what} {meant}", yes=yes)
    with screen.busy(f"giving {number_of(counted.letters, 'command')}"):
        done = give(chosen, False, counted.letters)
    screen.show(done, lambda: _said(what, done))


def _said(what: str, done: Any) -> str:
    from linkspan.cli.control.screen import number_of

    idle = [one for one in done.commands if not one.effective]
    taken = number_of(len(done.commands) - len(idle), "command")
    lines = [f"took {taken} to {what}; linkspan message shows what came of each"]
    return "\n".join(lines + [f"{one.subject}: {one.result}" for one in idle])
