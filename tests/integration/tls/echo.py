"""Two systems that answer with whatever they were sent, credentials first, and a collector that keeps every byte."""

from __future__ import annotations

import base64
import json
import ssl
from typing import Any

from aiohttp import web
from websockets.asyncio.server import Request, Response, Server, ServerConnection, serve

TOKEN = "marked-access-token-"


class EchoShop:
    """Rest, with OAuth2. It refuses everything at first, then fails, then rejects; ``seen``: credentials it got."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.spans = b""
        self.port = 0
        self._tokens = self._messages = 0

    async def start(self, context: ssl.SSLContext) -> EchoShop:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/oauth/token", self._token)
        app.router.add_post("/v1/traces", self._traces)
        app.router.add_route("*", "/{tail:.*}", self._message)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _token(self, request: web.Request) -> web.Response:
        said = request.headers["Authorization"]
        self.seen.append(said)
        self._tokens += 1
        plain = base64.b64decode(said.removeprefix("Basic ")).decode()
        if self._tokens == 1:
            error = {"error": "invalid_client", "error_description": f"{said} is {plain}"}
            return web.json_response(error, status=401)
        return web.json_response({"access_token": f"{TOKEN}{self._tokens}", "expires_in": 3600})

    async def _message(self, request: web.Request) -> web.Response:
        said = request.headers.get("Authorization", "")
        self.seen.append(said)
        self._messages += 1
        status = {1: 401, 2: 500, 3: 302}.get(self._messages, 400)
        headers = {"Location": f"https://127.0.0.1/?{said}"} if status == 302 else {}
        problem: dict[str, Any] = {"title": f"you sent {said}", "errors": [{"field": "Authorization", "error": said}]}
        kind = "application/problem+json" if self._messages % 2 else "application/json"
        return web.Response(status=status, body=json.dumps(problem), content_type=kind, headers=headers)

    async def _traces(self, request: web.Request) -> web.Response:
        self.spans += await request.read()
        return web.Response()


class EchoWorks:
    """A queue that refuses the first handshake, then rejects what comes; with the key in each answer."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.port = 0
        self._server: Server

    async def start(self, context: ssl.SSLContext) -> EchoWorks:
        self._server = await serve(self._take, "127.0.0.1", 0, ssl=context, process_request=self._admit)
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        key = request.headers.get("X-API-Key", "")
        self.seen.append(f"{request.path} {key}")
        if sum(one.startswith(request.path) for one in self.seen) == 1:
            return connection.respond(401, f"{key} is not known")
        return None

    async def _take(self, connection: ServerConnection) -> None:
        assert connection.request
        key = connection.request.headers["X-API-Key"]
        async for frame in connection:
            said = json.loads(frame)
            errors = [{"field": "X-API-Key", "error": f"you are {key}"}]
            await connection.send(json.dumps({"kind": "nack", "id": said["id"], "reason": key, "errors": errors}))
