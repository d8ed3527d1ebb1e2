"""The polled system of the tests: a real HTTP server with a change feed."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class FeedServer:
    """``items``: JSON texts, numbered from 1; ``answers`` are given first, one a request."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self.answers: list[web.Response] = []
        self.asked: list[int] = []
        self.times: list[float] = []
        self.port = 0

    def add(self, payload: Any, type_name: str = "OrderPlaced", **more: Any) -> int:
        number = len(self.items) + 1
        self.items.append(json.dumps({"change": number, "type": type_name, "payload": payload, **more}))
        return number

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/changes", self._changes)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _changes(self, request: web.Request) -> web.Response:
        if request.headers.get("X-API-Key") != "s":
            return web.json_response({"title": "who are you"}, status=401)
        after, limit = int(request.query["after"]), int(request.query["limit"])
        self.asked.append(after)
        self.times.append(time.monotonic())
        if self.answers:
            return self.answers.pop(0)
        page = self.items[after : after + limit]
        return web.Response(
            text=f'{{"items": [{", ".join(page)}], "next": {after + len(page)}}}', content_type="application/json"
        )


@asynccontextmanager
async def feed_server() -> AsyncIterator[FeedServer]:
    server = FeedServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
