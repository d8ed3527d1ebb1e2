"""The key with which the demo's plan manager sends: issued as an operator would."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing

from linkspan.cli.control.connection import choose
from linkspan.cli.control.session import Session
from linkspan.cli.demo.stack import HOST, Stack
from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.control.v1.keys_pb2 import IssueKeyRequest, RevokeKeyRequest
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.records.api_key import scope_of


def issue_key(stack: Stack, name: str, flows: Sequence[str]) -> None:
    """Into the stack's file; one of an earlier demo in the same directory is revoked. Raises UserMistake."""
    address = f"{HOST}:{stack.ports.control['ingress']}"
    with closing(Session(choose(address, None, None, stack.environment))) as session:
        try:
            session.change(session.api.RevokeKey, RevokeKeyRequest(key=name, reason="the demo is started again"))
        except CommandEnded as ended:
            if ended.code is not ExitCode.NO:
                raise UserMistake(f"no API key can be issued: {ended}") from ended
        request = IssueKeyRequest(name=name, scopes=[scope_of(flow) for flow in flows], reason="linkspan demo")
        try:
            key = session.change(session.api.IssueKey, request).key
        except CommandEnded as ended:
            raise UserMistake(f"no API key can be issued: {ended}") from ended
    stack.api_key_file.unlink(missing_ok=True)
    with os.fdopen(os.open(stack.api_key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key + "\n")
