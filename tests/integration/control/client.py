"""A caller of the control API, and what its errors say."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from grpc import aio

from linkspan.control.v1 import commands_pb2 as pb
from linkspan.control.v1.control_pb2_grpc import ControlServiceStub

#: Of each role, its token.
TOKENS = {role: f"the-token-of-the-{role}" for role in ("admin", "operator", "viewer")}
LIMIT = 30.0


def write_tokens(path: Path, **roles: str) -> Path:
    """``roles``: token by role; by default one of each."""
    said = [
        {"name": f"the {role}", "role": role, "sha256": hashlib.sha256(token.encode()).hexdigest()}
        for role, token in (roles or TOKENS).items()
    ]
    path.write_text(yaml.safe_dump(said))
    return path


class Caller:
    """``call("Pause", request)`` with this caller's token."""

    def __init__(self, channel: aio.Channel, token: str | None, address: str = "") -> None:
        self.stub: Any = ControlServiceStub(channel)
        self.address = address
        self.metadata = () if token is None else (("authorization", f"Bearer {token}"),)

    async def __call__(self, method: str, request: Any) -> Any:
        return await getattr(self.stub, method)(request, metadata=self.metadata, timeout=LIMIT)

    def stream(self, method: str, request: Any, timeout: float = LIMIT) -> Any:
        return getattr(self.stub, method)(request, metadata=self.metadata, timeout=timeout)

    async def pause(self, flow: str = "orders", reason: str = "to see") -> pb.Command:
        found = await self("Pause", pb.PauseRequest(target=pb.Target(flow=flow), reason=reason))
        return found.command

    async def resume(self, flow: str = "orders", reason: str = "seen") -> pb.Command:
        found = await self("Resume", pb.ResumeRequest(target=pb.Target(flow=flow), reason=reason))
        return found.command


@asynccontextmanager
async def calling(address: str, token: str | None) -> AsyncIterator[Caller]:
    async with aio.insecure_channel(address) as channel:
        yield Caller(channel, token, address)


@dataclass(frozen=True)
class Refused:
    """``fields``: of the request that are wrong."""

    code: grpc.StatusCode
    text: str
    reason: str
    metadata: dict[str, str]
    fields: list[str]


def refused(error: aio.AioRpcError) -> Refused:
    status = Status()
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            status.ParseFromString(value)
    assert not status.code or status.code == error.code().value[0]
    info, wrong = ErrorInfo(), BadRequest()
    for detail in status.details:
        for known in (info, wrong):
            if detail.Is(known.DESCRIPTOR):
                detail.Unpack(known)
    fields = [one.field for one in wrong.field_violations]
    return Refused(error.code(), error.details() or "", info.reason, dict(info.metadata), fields)
