"""``linkspan status``: both systems, Kafka, the database, each flow and each replica, once or again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import Flow

if TYPE_CHECKING:
    from linkspan.control.v1.status_pb2 import GetStatusResponse


@operated
def status(
    operator: Operator,
    *,
    flow: Flow = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Between two looks with --watch.")] = 1.0,
) -> None:
    """Show both systems, Kafka, the database, each flow and each replica.

    Exit code 0, also where something is not healthy: systems that are away are no failure.
    """
    from linkspan.cli.control.views.status import status_view
    from linkspan.control.v1.status_pb2 import GetStatusRequest

    session, screen = operator.session, operator.screen
    if watch:
        _watch(operator, flow or "", every)
        return
    found = session.ask(session.api.GetStatus, GetStatusRequest(flow=flow or ""))
    screen.show(found, lambda: status_view(found, screen))


def _watch(operator: Operator, flow: str, every: float) -> None:
    from linkspan.cli.control.views.status import StatusScreen

    shown = StatusScreen(operator.screen)
    with shown:
        for found in _statuses(operator, flow, every, shown.lost):
            shown.update(found)


def _statuses(operator: Operator, flow: str, every: float, lost: Callable[[str], None]) -> Iterator[GetStatusResponse]:
    """Without end: what breaks on the way is connected again, to the next address that answers."""
    from google.protobuf.duration_pb2 import Duration

    from linkspan.control.v1.status_pb2 import WatchStatusRequest

    session = operator.session
    pause = Duration()
    pause.FromNanoseconds(round(every * 1e9))
    for found in session.follow(lambda api: api.WatchStatus, WatchStatusRequest(flow=flow, every=pause), lost):
        yield found.status
