"""What tests need to send as somebody: keys from a replica's control API, and answers as a sender sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import aiohttp
from google.protobuf.timestamp_pb2 import Timestamp
from tests.integration.control.client import Caller, calling
from tests.integration.ingress.site import Replica, Site, order

from linkspan.control.v1 import keys_pb2 as pb
from linkspan.kernel.message import now_micros


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def problem(self) -> str:
        return str(self.body.get("type", "")).removeprefix("/problems/")


async def post(
    to: Replica, message: Any = None, path: str = "/v1/messages", key: str | None = None, **headers: str
) -> Answer:
    """``message``: an order unless given; names of headers are written with underscores."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()} | ({"X-API-Key": key} if key else {})
    body = order() if message is None else message
    async with (
        aiohttp.ClientSession(to.url) as session,
        session.post(path, json=body, headers=sent) as answer,
    ):
        return Answer(answer.status, answer.headers, await answer.json(content_type=None))


async def both_ways(to: Replica, key: str | None = None, **headers: str) -> Answer:
    """Sends an order the short way and the usual one, which must say the same."""
    short = await post(to, key=key, **headers)
    usual = await post(to, key=key, Prefer="wait=0", **headers)
    assert (short.status, short.problem) == (usual.status, usual.problem)
    return short


def operator(of: Replica, site: Site) -> AbstractAsyncContextManager[Caller]:
    """Whoever has the token that the replica left in its data directory."""
    return calling(of.control, (site.folder / "data" / "control" / "token").read_text().strip())


async def issue(by: Caller, name: str, *scopes: str, expires_in: float | None = None, **more: Any) -> Any:
    """``expires_in`` in seconds."""
    request = pb.IssueKeyRequest(name=name, scopes=scopes or ["send:*"], reason="a test", **more)
    if expires_in is not None:
        at = Timestamp()
        at.FromMicroseconds(now_micros() + int(expires_in * 1e6))
        request.expires.CopyFrom(at)
    return await by("IssueKey", request)


async def revoke(by: Caller, key: str) -> Any:
    return await by("RevokeKey", pb.RevokeKeyRequest(key=key, reason="a test"))


async def becomes(ask: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await ask():  # noqa: ASYNC110 - another process is asked
            await asyncio.sleep(0.1)
