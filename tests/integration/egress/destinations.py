"""Small real destinations that remember what they got and answer as a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response


@dataclass(frozen=True)
class Got:
    """One delivery as it arrived, whichever way; ``fields`` are the HTTP fields, empty for a frame; ``replay`` is the
    plan that sent it again."""

    id: str
    sequence: int
    redelivery: bool
    traceparent: str
    body: dict[str, Any]
    fields: dict[str, str]
    path: str
    replay: str | None = None

    @property
    def order(self) -> tuple[str, int]:
        return self.body["payload"]["orderId"], self.body["payload"]["line"]


async def until(done: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not done():  # noqa: ASYNC110 - whatever a test waits for
            await asyncio.sleep(0.01)


async def until_async(done: Callable[[], Awaitable[object]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await done():  # noqa: ASYNC110 - whatever a test waits for
            await asyncio.sleep(0.5)


#: What to answer: an HTTP status (also for a frame), or "silence", "cut", "late", "twice".
Reply = int | str
Decide = Callable[[Got], Reply]


@dataclass
class RestDestination:
    """``reply`` decides each answer, of a message in a batch too; ``whole`` that to a batch, unless None; ``hold``
    seconds before it. ``batches``: the message ids of each."""

    reply: Decide = lambda _got: 201
    hold: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    problem: dict[str, Any] | None = None
    lifetime: float = 3600
    token_status: int = 200
    got: list[Got] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    refused_tokens: set[str] = field(default_factory=set)
    wanted_fields: dict[str, str] = field(default_factory=dict)
    bearer: bool = False
    port: int = 0
    whole: Callable[[list[Got]], Reply | None] = lambda _got: None
    batches: list[list[str]] = field(default_factory=list)

    async def start(self) -> RestDestination:
        app = web.Application()
        app.router.add_post("/oauth/token", self._token)
        app.router.add_route("*", "/{tail:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _token(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"].startswith("Basic ")
        assert (await request.post())["grant_type"] == "client_credentials"
        if self.token_status != 200:
            return web.json_response({"error": "invalid_client"}, status=self.token_status)
        self.tokens.append(f"token-{len(self.tokens) + 1}")
        return web.json_response({"access_token": self.tokens[-1], "expires_in": self.lifetime})

    async def _take(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.bearer and (token not in self.tokens or token in self.refused_tokens):
            return web.json_response({"title": "unknown token"}, status=401)
        if any(request.headers.get(name) != value for name, value in self.wanted_fields.items()):
            return web.json_response({"title": "who are you"}, status=401)
        fields = request.headers
        body = json.loads(await request.read())
        if "messages" in body:
            return await self._take_batch(request, body["messages"])
        got = Got(
            fields.get("Idempotency-Key", ""),
            int(fields.get("Linkspan-Sequence", "-1")),
            fields.get("Linkspan-Redelivery") == "possible",
            fields.get("traceparent", ""),
            body,
            dict(fields),
            request.raw_path,
            fields.get("Linkspan-Replay"),
        )
        self.got.append(got)
        return await self._answer(request, self.reply(got))

    async def _answer(self, request: web.Request, reply: Reply) -> web.Response:
        await asyncio.sleep(self.hold)
        if reply == "silence":
            await asyncio.sleep(3600)
        if reply == "cut":
            assert request.transport
            request.transport.close()
        if reply == "late":
            await asyncio.sleep(1.0)
        status = reply if isinstance(reply, int) else 201
        kind = "application/problem+json" if self.problem else "application/json"
        return web.json_response(self.problem or {}, status=status, headers=self.headers, content_type=kind)

    async def _take_batch(self, request: web.Request, messages: list[dict[str, Any]]) -> web.Response:
        """A reply that is no status but "omit" or "twice" concerns the request, of which the first half was taken."""
        got = [
            Got(*(one[name] for name in _ITEM), dict(request.headers), one["path"], one.get("replay"))
            for one in messages
        ]
        self.batches.append([one.id for one in got])
        whole = self.whole(got)
        if whole is not None:
            return await self._answer(request, whole)
        replies = [self.reply(one) for one in got]
        broken = next((reply for reply in replies if reply in ("silence", "cut", "late")), 200)
        self.got += got
        results = [self._result(one, reply) for one, reply in zip(got, replies, strict=True) if reply != "omit"]
        if broken != 200:
            return await self._answer(request, broken)
        await asyncio.sleep(self.hold)
        return web.json_response({"results": results}, status=207)

    def _result(self, got: Got, reply: Reply) -> dict[str, Any]:
        after = self.headers.get("Retry-After")
        more = {} if after is None else {"retryAfter": int(after)}
        return {"messageId": got.id, "status": reply if isinstance(reply, int) else 201, **(self.problem or {}), **more}


_ITEM = ("messageId", "sequence", "redelivery", "traceparent", "body")
_FRAME = ("id", *_ITEM[1:])


@dataclass
class QueueDestination:
    """The WebSocket queue; 2xx acks, 400 to 499 nacks as invalid, 503 as busy."""

    reply: Decide = lambda _got: 201
    hold: float = 0.0
    api_key: str = "key"
    refuse: int | None = None
    got: list[Got] = field(default_factory=list)
    connections: list[ServerConnection] = field(default_factory=list)
    handshakes: list[Headers] = field(default_factory=list)
    port: int = 0
    _server: Server | None = None

    async def start(self) -> QueueDestination:
        self._server = await serve(
            self._serve, "127.0.0.1", self.port, process_request=self._admit, compression=None, close_timeout=0.2
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.handshakes.append(request.headers)
        if self.refuse or request.headers.get("X-API-Key") != self.api_key:
            return connection.respond(self.refuse or 401, "no")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        tasks = set()
        async for frame in connection:
            said = json.loads(frame)
            path = connection.request.path if connection.request else ""
            got = Got(*(said[name] for name in _FRAME), {}, path, said.get("replay"))
            self.got.append(got)
            task = asyncio.create_task(self._answer(connection, got, self.reply(got)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _answer(self, connection: ServerConnection, got: Got, reply: Reply) -> None:
        if self.hold:
            await asyncio.sleep(self.hold)
        if reply == "silence":
            return
        if reply == "cut":
            connection.transport.abort()
            return
        if reply == "late":
            await asyncio.sleep(1.0)
        answer: dict[str, Any] = {"kind": "ack", "id": got.id}
        if isinstance(reply, int) and 400 <= reply < 500:
            errors = [{"field": "payload.line", "error": "must not be odd"}]
            answer = {"kind": "nack", "id": got.id, "reason": "invalid", "errors": errors}
        if reply == 503:
            answer = {"kind": "nack", "id": got.id, "reason": "busy", "errors": [], "retryAfter": 0.2}
        for _ in range(2 if reply == "twice" else 1):
            await connection.send(json.dumps(answer))
