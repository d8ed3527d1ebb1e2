"""Following a replay to its end, and saying what came of it by an exit code."""

from __future__ import annotations

import typer

from linkspan.cli.control.command import Operator
from linkspan.cli.control.views.replay import ReplayScreen, replay_view
from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.control.v1 import replays_pb2 as pb

ENDED = {
    pb.REPLAY_PHASE_COMPLETED: ExitCode.DONE,
    pb.REPLAY_PHASE_CANCELLED: ExitCode.STOPPED,
    pb.REPLAY_PHASE_ABORTED: ExitCode.STOPPED,
}


def watch_to_the_end(operator: Operator, plan: str) -> None:
    """Raises typer.Exit with the code of its end, CommandEnded for Ctrl-C, which ends the watching alone."""
    screen = operator.screen
    try:
        last = _follow(operator, plan)
    except KeyboardInterrupt:
        text = f"the replay goes on: linkspan replay watch {plan} follows it, linkspan replay cancel {plan} ends it"
        raise CommandEnded(text, ExitCode.INTERRUPTED) from None
    if not screen.json:
        screen.console.print(replay_view(last, screen))
    raise typer.Exit(ENDED[last.phase])


def _follow(operator: Operator, plan: str) -> pb.Replay:
    request = pb.WatchReplayRequest(plan=plan)
    with ReplayScreen(operator.screen) as shown:
        for answer in operator.session.follow(lambda api: api.WatchReplay, request, shown.lost):
            shown.update(answer.replay)
            if answer.replay.phase in ENDED:
                return answer.replay
    raise AssertionError("it is followed without end")
