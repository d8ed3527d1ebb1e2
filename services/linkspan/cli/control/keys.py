"""``linkspan keys``: who may send messages to ingress."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.control.options import Limit, PageToken, Reason, flow_names, stamp
from linkspan.cli.when import ahead
from linkspan.kernel.errors import UserMistake

if TYPE_CHECKING:
    from linkspan.control.v1.keys_pb2 import IssueKeyRequest

keys = typer.Typer(no_args_is_help=True, help="Issue, list and revoke the API keys with which messages are sent.")
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Grant:
    """What a key allows."""

    flow: Annotated[
        list[str] | None,
        typer.Option(metavar="FLOW", help="It may send messages of this flow; repeat it.", autocompletion=flow_names),
    ] = None
    all_flows: Annotated[bool, typer.Option("--all-flows", help="It may send messages of every flow.")] = False
    expires: Annotated[
        str, typer.Option(metavar="TIME", help="After so long (90d, 12h), at a time (ISO 8601), or never.")
    ] = "365d"
    rate: Annotated[float, typer.Option(min=0, help="Messages a second; 0: as every other.")] = 0.0
    burst: Annotated[int, typer.Option(min=0, max=_LARGEST, help="Messages at once; 0: those of a second.")] = 0
    max_bytes: Annotated[int, typer.Option(min=0, help="Of a request's body; 0: as every other.")] = 0

    def request(self, name: str, reason: str) -> IssueKeyRequest:
        """Raises UserMistake."""
        from linkspan.control.v1.keys_pb2 import IssueKeyRequest
        from linkspan.kernel.records.api_key import ALL_FLOWS, scope_of

        if bool(self.flow) == self.all_flows:
            raise UserMistake("say for which flows: --flow FLOW, as often as needed, or --all-flows")
        return IssueKeyRequest(
            name=name,
            scopes=[ALL_FLOWS] if self.all_flows else [scope_of(one) for one in self.flow or ()],
            expires=None if self.expires == "never" else stamp(ahead("--expires", self.expires)),
            rate=self.rate,
            burst=self.burst,
            max_bytes=self.max_bytes,
            reason=reason,
        )


@keys.command("issue")
@operated
def issue_key(
    operator: Operator,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of whoever will send with it.", show_default=False)],
    grant: Grant,
    *,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the key there, for its owner alone, and do not show it.")
    ] = None,
    reason: Reason,
) -> None:
    """Make a key. It is shown this once, and kept nowhere."""
    from linkspan.cli.control.views.keys import issued_view

    session, request = operator.session, grant.request(name, reason)
    with _draft(to) as draft:
        answer = session.change(session.api.IssueKey, request)
        if draft is not None:
            draft.write_text(answer.key + "\n")
            answer.key = ""
    operator.screen.show(answer, lambda: issued_view(answer, to))


@keys.command("list")
@operated
def list_keys(
    operator: Operator,
    *,
    ended: Annotated[bool, typer.Option("--ended", help="Those too that have expired or were revoked.")] = False,
    limit: Limit = 50,
    page_token: PageToken = "",
) -> None:
    """Show whose they are, what they may send, until when, and when each was used last; the newest first."""
    from linkspan.cli.control.paging import up_to
    from linkspan.cli.control.views.keys import keys_view
    from linkspan.control.v1.keys_pb2 import ListKeysRequest

    session, screen, wanted = operator.session, operator.screen, ListKeysRequest(ended=ended, page_token=page_token)
    found = up_to(limit, wanted, lambda one: session.ask(session.api.ListKeys, one), "keys")
    screen.show(found, lambda: keys_view(found, screen))


@keys.command("revoke")
@operated
def revoke_key(
    operator: Operator,
    key: Annotated[str, typer.Argument(metavar="NAME|ID", help="As keys list shows it.", show_default=False)],
    *,
    reason: Reason,
) -> None:
    """Take no message with this key any more; all replicas obey within a second. Exit code 1: there is no such key."""
    from linkspan.cli.control.views.commands import command_view
    from linkspan.control.v1.keys_pb2 import RevokeKeyRequest

    session = operator.session
    answer = session.change(session.api.RevokeKey, RevokeKeyRequest(key=key, reason=reason))
    operator.screen.show(answer.command, lambda: command_view(answer.command))


@contextmanager
def _draft(to: Path | None) -> Iterator[Path | None]:
    """A file that becomes ``to`` at the end; it is made first, as a key that cannot be written would be lost."""
    if to is None:
        yield None
        return
    draft = to.with_name(f".{to.name}-{secrets.token_hex(4)}")
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            yield draft
            draft.replace(to)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise UserMistake(f"--to {to}: {error.strerror}") from error
