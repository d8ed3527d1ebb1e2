"""A server in ingress' place that the test leads."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from aiohttp import web


class Ingress:
    """Keeps what it was sent, by plan, and when it came; answers what ``answers`` says next for a plan, then 202."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.times: dict[str, list[float]] = defaultdict(list)
        self.answers: dict[str, list[web.Response]] = {}
        self.slow_for: str | None = None
        self.goes_on = asyncio.Event()
        self._came = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        message = await request.json()
        plan = message["payload"]["planId"]
        self.times[plan].append(asyncio.get_running_loop().time())
        if plan == self.slow_for:
            await self.goes_on.wait()
        async with self._came:
            self.received.append((plan, message, dict(request.headers)))
            self._came.notify_all()
        return self.answers[plan].pop(0) if self.answers.get(plan) else web.json_response({}, status=202)

    def of(self, *plans: str) -> list[tuple[str, dict[str, Any], dict[str, str]]]:
        return [one for one in self.received if one[0] in plans]

    async def wait_for(self, count: int, *plans: str) -> None:
        async with asyncio.timeout(60), self._came:
            await self._came.wait_for(lambda: len(self.of(*plans)) >= count)
