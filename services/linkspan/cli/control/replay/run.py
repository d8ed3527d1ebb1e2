"""``linkspan replay run``: a frozen plan is executed, after what it comes to was shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import ReasonUnlessDry, Yes, check_reason
from linkspan.cli.control.replay.how import HowToRun

if TYPE_CHECKING:
    from linkspan.control.v1.replays_pb2 import GetReplayResponse, StartReplayRequest, StartReplayResponse

Plan = Annotated[
    str, typer.Argument(metavar="PLAN", help="Id of a plan; linkspan replay list shows them.", show_default=False)
]


@operated
def run(
    operator: Operator,
    plan: Plan,
    how: HowToRun,
    *,
    reason: ReasonUnlessDry = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing: only what the transform makes of each event.")
    ] = False,
    yes: Yes = False,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for its end.")] = False,
) -> None:
    """Execute a plan: count what it would send with these options, ask, then send it.

    Ctrl-C leaves it running. Exit code 1: nothing is to be sent; 5: it was cancelled or aborted.
    """
    from linkspan.cli.control.replay.watching import watch_to_the_end

    check_reason(reason, dry_run=dry_run)
    request = how.request(plan, reason)
    counted = _counted(operator, request)
    if dry_run:
        _dry(operator, request)
        return
    _ask(operator, counted, how, yes=yes)
    request.expected = request.expected or counted.counted["delivered"]
    first = _start(operator, request)
    if detach:
        from linkspan.cli.control.views.replay import replay_view

        operator.screen.show(first.replay, lambda: replay_view(first.replay, operator.screen))
        return
    watch_to_the_end(operator, plan)


def _counted(operator: Operator, request: StartReplayRequest) -> GetReplayResponse:
    from linkspan.control.v1.replays_pb2 import GetReplayRequest

    session = operator.session
    return session.ask(session.api.GetReplay, GetReplayRequest(plan=request.plan, options=request))


def _ask(operator: Operator, found: GetReplayResponse, how: HowToRun, *, yes: bool) -> None:
    from linkspan.cli.control.views.replay import counts_text
    from linkspan.cli.ended import CommandEnded, ExitCode

    plan, rest = found.plan, dict(found.counted)
    if found.HasField("replay"):
        text = f"plan {plan.plan} was started already by {found.replay.by}; linkspan replay show {plan.plan} says more"
        raise CommandEnded(text, ExitCode.NO)
    to_send = rest.pop("delivered", 0)
    others = f" ({counts_text(rest)} are not)" if rest else ""
    if not to_send:
        text = f"nothing of {plan.plan} is to be sent with these options{others}; --force sends what was delivered too"
        raise CommandEnded(text, ExitCode.NO)
    words = f"; {how.words()}" if how.words() else ""
    operator.screen.sure(f"send {to_send:,} of {plan.records:,} events of {plan.flow} again{others}{words}", yes=yes)


def _start(operator: Operator, request: StartReplayRequest) -> StartReplayResponse:
    """It is under way then."""
    from linkspan.cli.ended import CommandEnded, ExitCode

    session, unknown = operator.session, f"linkspan replay show {request.plan} says whether it was started"
    try:
        with operator.screen.busy("comparing the plan with the log"):
            for answer in session.listen(session.api.StartReplay, request):
                return answer
    except KeyboardInterrupt:
        raise CommandEnded(unknown, ExitCode.INTERRUPTED) from None
    except CommandEnded as ended:
        away = ended.code is ExitCode.AWAY
        raise CommandEnded(f"{ended}; {unknown}", ended.code) if away else ended from ended
    raise CommandEnded(f"{session.address} ended; {unknown}", ExitCode.AWAY)


def _dry(operator: Operator, request: StartReplayRequest) -> None:
    from linkspan.cli.control.views.replay import dry_view
    from linkspan.cli.ended import CommandEnded, ExitCode

    session, screen = operator.session, operator.screen
    request.dry_run = True
    last: StartReplayResponse | None = None
    with screen.telling("comparing the plan with the log") as tell:
        for last in session.listen(session.api.StartReplay, request):
            tell(f"{last.replay.finished:,} of {last.replay.records:,} events through the transform")
    if last is None:
        raise CommandEnded(f"{session.address} ended before the dry run did", ExitCode.AWAY)
    found = last
    screen.show(found, lambda: dry_view(found))
