"""``linkspan replay list``, ``show`` and ``watch``."""

from __future__ import annotations

from typing import Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import Flow, Limit, PageToken
from linkspan.cli.control.replay.run import Plan

#: A proof reads a list and all outcomes since.
PROOF_SECONDS = 600.0


@operated
def list_replays(operator: Operator, *, flow: Flow = None, limit: Limit = 50, page_token: PageToken = "") -> None:
    """List plans and what became of them, the newest first."""
    from linkspan.cli.control.paging import up_to
    from linkspan.cli.control.views.replay import plans_view
    from linkspan.control.v1.replays_pb2 import ListReplaysRequest

    session, screen = operator.session, operator.screen
    api = session.api
    wanted = ListReplaysRequest(flow=flow or "", page_token=page_token)
    found = up_to(limit, wanted, lambda one: session.ask(api.ListReplays, one), "plans", "replays")
    screen.show(found, lambda: plans_view(found, screen))


@operated
def show(
    operator: Operator,
    plan: Plan,
    *,
    prove: Annotated[
        bool, typer.Option("--prove", help="Read list and outcomes again: each event has exactly one disposition.")
    ] = False,
) -> None:
    """Show a plan, how far its run is, and the proof of its account.

    Exit code 1: what --prove found is not what was planned and said.
    """
    from linkspan.cli.control.views.replay import whole_view
    from linkspan.control.v1.replays_pb2 import GetReplayRequest

    session, screen = operator.session, operator.screen
    with screen.busy("reading list and outcomes"):
        request = GetReplayRequest(plan=plan, proof=prove)
        found = session.ask(session.api.GetReplay, request, *([PROOF_SECONDS] if prove else []))
    screen.show(found, lambda: whole_view(found, screen))
    if prove and not found.replay.proof.proven:
        raise typer.Exit(1)


@operated
def watch(operator: Operator, plan: Plan) -> None:
    """Follow a replay to its end; Ctrl-C leaves it running.

    With --output json each look is an object on a line of its own. Exit code 5: it was cancelled or aborted.
    """
    from linkspan.cli.control.replay.watching import watch_to_the_end

    watch_to_the_end(operator, plan)
