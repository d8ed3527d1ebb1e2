"""``linkspan audit-trail``: the control topic as people read it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import Limit, PageToken


class Kind(StrEnum):
    """Kinds of commands, as people write them."""

    PAUSE = "pause"
    RESUME = "resume"
    REDRIVE = "redrive"
    DISCARD = "discard"
    FLUSH = "flush"
    RESET_BREAKER = "reset-breaker"
    LOG_LEVEL = "log-level"
    PROFILING = "profiling"
    PLAN_FROZEN = "plan-frozen"
    REPLAY_START = "replay-start"
    REPLAY_PAUSE = "replay-pause"
    REPLAY_RESUME = "replay-resume"
    REPLAY_RATE = "replay-rate"
    REPLAY_CONFIRM = "replay-confirm"
    REPLAY_CANCEL = "replay-cancel"
    REPLAY_ABORT = "replay-abort"
    REPLAY_PART_DONE = "replay-part-done"
    TRANSFORM = "transform"
    RESTORED = "restored"
    REPARTITIONED = "repartitioned"
    ISSUE_KEY = "issue-key"
    REVOKE_KEY = "revoke-key"
    ROLLOUT_START = "rollout-start"
    ROLLOUT_SHARE = "rollout-share"
    ROLLOUT_STOP = "rollout-stop"
    ROLLOUT_FINISH = "rollout-finish"
    REFUSED = "refused"


@operated
def audit_trail(
    operator: Operator,
    *,
    kind: Annotated[Kind | None, typer.Option(help="Only of this kind.")] = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Only what this identity gave.")] = None,
    limit: Limit = 50,
    page_token: PageToken = "",
) -> None:
    """Show who commanded what, when and why.

    The newest first, with what was refused.
    """
    from linkspan.cli.control.paging import up_to
    from linkspan.cli.control.views.commands import trail_view
    from linkspan.control.v1.commands_pb2 import ListCommandsRequest

    session, screen = operator.session, operator.screen
    api = session.api
    wanted = ListCommandsRequest(kind=kind.replace("-", "_") if kind else "", by=by or "", page_token=page_token)
    found = up_to(limit, wanted, lambda one: session.ask(api.ListCommands, one), "commands")
    screen.show(found, lambda: trail_view(found.commands, screen))
