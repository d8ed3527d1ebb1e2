"""``linkspan audit``: proves from the log what became of every message, and names those that nothing is known of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import flow_names, stamp
from linkspan.cli.when import span
from linkspan.kernel.errors import UserMistake

if TYPE_CHECKING:
    from linkspan.control.v1.audit_pb2 import AuditResponse

#: The log is read from its start, at some 100,000 records a second.
SECONDS = 3600.0


@operated
def audit(
    operator: Operator,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="An integration.yaml: read Kafka (MESSAGE_QUEUE_URL) itself instead of asking the control API.",
            show_default=False,
        ),
    ] = None,
    *,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Only events from then on: ISO 8601, or how long ago (2h)."),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Only events before then.")] = None,
    flow: Annotated[
        list[str] | None, typer.Option(help="Only this flow; may be repeated.", autocompletion=flow_names)
    ] = None,
) -> None:
    """Prove from the log that accepted = delivered + in flight + held + dead-lettered + … for every flow.

    A replica reads the log; with FILE this command does, for when none runs. Exit code 0: nothing is unaccounted; 1:
    something is, and is listed.
    """
    if file is None:
        _ask(operator, start, end, flow or [])
        return
    if operator.control or operator.token or operator.profile:
        raise UserMistake("with FILE the log is read from Kafka itself: leave out --control, --token and --profile")
    from linkspan.cli.audit import audit_log

    audit_log(file, start, end, flow or [], operator.output)


def _ask(operator: Operator, start: str | None, end: str | None, flows: list[str]) -> None:
    from linkspan.cli.control.views.audit import audit_view
    from linkspan.control.v1.audit_pb2 import AuditRequest

    first, last = span(("--from", start), ("--to", end))
    request = AuditRequest(flows=flows, since=stamp(first), until=stamp(last))
    session, screen = operator.session, operator.screen
    with screen.busy("a replica reads the log"):
        found: AuditResponse = session.ask(session.api.Audit, request, SECONDS)
    screen.show(found, lambda: audit_view(found, screen))
    if not found.balanced:
        raise typer.Exit(1)
