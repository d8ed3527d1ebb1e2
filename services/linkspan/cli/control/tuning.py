"""``linkspan log-level`` and ``profiling``: how much replicas tell of themselves."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.flame import flame
from linkspan.cli.control.options import Reason


class Level(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


profiling = typer.Typer(no_args_is_help=True, help="Measure the stages of a share of the messages.")


@operated
def log_level(
    operator: Operator,
    level: Annotated[Level, typer.Argument(metavar="debug|info|warning|error", show_default=False)],
    *,
    reason: Reason,
) -> None:
    """Set how much every replica logs.

    It holds until it is set again, also in replicas that start later.
    """
    from linkspan.cli.control.views.commands import command_view
    from linkspan.control.v1.commands_pb2 import SetLogLevelRequest

    session = operator.session
    answer = session.change(session.api.SetLogLevel, SetLogLevelRequest(level=level, reason=reason))
    operator.screen.show(answer.command, lambda: command_view(answer.command))


def _enable(operator: Operator, share: float, reason: str, *, detailed: bool) -> None:
    from linkspan.cli.control.views.commands import command_view
    from linkspan.control.v1.commands_pb2 import EnableProfilingRequest

    session = operator.session
    request = EnableProfilingRequest(sample_rate=share, detailed_timings=detailed, reason=reason)
    answer = session.change(session.api.EnableProfiling, request)
    operator.screen.show(answer.command, lambda: command_view(answer.command))


@profiling.command("enable")
@operated
def profiling_enable(
    operator: Operator,
    *,
    sample_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of the messages that are measured.")] = 0.01,
    detailed_timings: Annotated[bool, typer.Option("--detailed-timings", help="Each stage by itself.")] = False,
    reason: Reason,
) -> None:
    """Measure in every replica, until it is disabled."""
    _enable(operator, sample_rate, reason, detailed=detailed_timings)


@profiling.command("disable")
@operated
def profiling_disable(operator: Operator, *, reason: Reason) -> None:
    """Measure no more."""
    _enable(operator, 0.0, reason, detailed=False)


@profiling.command("show")
@operated
def profiling_show(
    operator: Operator, *, slowest: Annotated[int, typer.Option(min=1, max=100, help="Slowest operations.")] = 10
) -> None:
    """Show what the replica that answers has measured."""
    from linkspan.cli.control.views.profile import profile_view
    from linkspan.control.v1.commands_pb2 import GetProfileRequest

    session, screen = operator.session, operator.screen
    found = session.ask(session.api.GetProfile, GetProfileRequest(slowest=slowest))
    screen.show(found, lambda: profile_view(found, session.address, screen))


profiling.command("flame")(flame)
