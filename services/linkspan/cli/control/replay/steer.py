"""``linkspan replay pause``, ``resume``, ``rate``, ``confirm`` and ``cancel``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import Reason
from linkspan.cli.control.replay.run import Plan

if TYPE_CHECKING:
    from linkspan.control.v1.commands_pb2 import Command


@operated
def pause(operator: Operator, plan: Plan, *, reason: Reason) -> None:
    """Start no attempt of a replay any more, until it is resumed."""
    from linkspan.control.v1.replays_pb2 import PauseReplayRequest

    session = operator.session
    answer = session.change(session.api.PauseReplay, PauseReplayRequest(plan=plan, reason=reason))
    _say(operator, answer.command)


@operated
def resume(operator: Operator, plan: Plan, *, reason: Reason) -> None:
    """Go on with a replay that was paused."""
    from linkspan.control.v1.replays_pb2 import ResumeReplayRequest

    session = operator.session
    answer = session.change(session.api.ResumeReplay, ResumeReplayRequest(plan=plan, reason=reason))
    _say(operator, answer.command)


@operated
def rate(
    operator: Operator,
    plan: Plan,
    per_second: Annotated[
        float, typer.Argument(min=0, metavar="PER-SECOND", help="Messages; 0: no limit of its own.", show_default=False)
    ],
    *,
    reason: Reason,
) -> None:
    """Change how many messages a second a replay sends at most."""
    from linkspan.control.v1.replays_pb2 import SetReplayRateRequest

    session = operator.session
    request = SetReplayRateRequest(plan=plan, rate=per_second, reason=reason)
    _say(operator, session.change(session.api.SetReplayRate, request).command)


@operated
def confirm(operator: Operator, plan: Plan, *, reason: Reason) -> None:
    """Say that the canary was good: the rest is sent."""
    from linkspan.control.v1.replays_pb2 import ConfirmReplayRequest

    session = operator.session
    answer = session.change(session.api.ConfirmReplay, ConfirmReplayRequest(plan=plan, reason=reason))
    _say(operator, answer.command)


@operated
def cancel(operator: Operator, plan: Plan, *, reason: Reason) -> None:
    """End a replay: what is under way ends, everything else is recorded as cancelled."""
    from linkspan.control.v1.replays_pb2 import CancelReplayRequest

    session = operator.session
    answer = session.change(session.api.CancelReplay, CancelReplayRequest(plan=plan, reason=reason))
    _say(operator, answer.command)


def _say(operator: Operator, command: Command) -> None:
    from linkspan.cli.control.views.commands import command_view

    operator.screen.show(command, lambda: command_view(command))
