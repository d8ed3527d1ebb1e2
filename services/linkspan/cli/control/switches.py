"""``linkspan pause``, ``resume`` and ``reset-breaker``: what a flow or a destination may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import Reason, flow_names
from linkspan.kernel.errors import UserMistake

if TYPE_CHECKING:
    from linkspan.control.v1.commands_pb2 import Command, Target

Which = Annotated[str | None, typer.Argument(metavar="FLOW", help="Name of a flow.", autocompletion=flow_names)]
Destination = Annotated[
    str | None, typer.Option(metavar="SYSTEM", help="Instead of a flow: all flows that deliver to this system.")
]


@operated
def pause(operator: Operator, flow: Which = None, *, destination: Destination = None, reason: Reason) -> None:
    """Deliver nothing of a flow, or nothing to a system, until it is resumed.

    All replicas obey within a second. What is accepted meanwhile waits.
    """
    from linkspan.control.v1.commands_pb2 import PauseRequest

    session, target = operator.session, _target(flow, destination)
    answer = session.change(session.api.Pause, PauseRequest(target=target, reason=reason))
    _say(operator, answer.command)


@operated
def resume(operator: Operator, flow: Which = None, *, destination: Destination = None, reason: Reason) -> None:
    """Deliver again what was paused."""
    from linkspan.control.v1.commands_pb2 import ResumeRequest

    session, target = operator.session, _target(flow, destination)
    answer = session.change(session.api.Resume, ResumeRequest(target=target, reason=reason))
    _say(operator, answer.command)


@operated
def reset_breaker(operator: Operator, flow: Which = None, *, destination: Destination = None, reason: Reason) -> None:
    """Ask a destination again now, instead of when its breaker would."""
    from linkspan.control.v1.commands_pb2 import ResetBreakerRequest

    session, target = operator.session, _target(flow, destination)
    answer = session.change(session.api.ResetBreaker, ResetBreakerRequest(target=target, reason=reason))
    _say(operator, answer.command)


def _target(flow: str | None, destination: str | None) -> Target:
    from linkspan.control.v1.commands_pb2 import Target

    if flow is not None and destination is None:
        return Target(flow=flow)
    if destination is not None and flow is None:
        return Target(destination=destination)
    raise UserMistake("name a flow, or a system with --destination; linkspan status shows both")


def _say(operator: Operator, command: Command) -> None:
    from linkspan.cli.control.views.commands import command_view

    operator.screen.show(command, lambda: command_view(command))
