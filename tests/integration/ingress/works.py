"""The sending system of the tests: a real WebSocket server that pushes events and keeps the answers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Request, Response, Server, ServerConnection, serve


class Works:
    """``connections`` are those held now; ``answers`` by the id of the frame."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.key = "the-key"
        self.connections: list[ServerConnection] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self.order: list[str | None] = []
        self.accepted = 0
        self.refused = 0
        self._server: Server | None = None
        self._changed = asyncio.Event()

    async def start(self) -> None:
        self._server = await serve(
            self._hold,
            "127.0.0.1",
            self.port,
            process_request=self._admit,
            subprotocols=["works.v1"],
            max_size=None,  # type: ignore[list-item]
        )

    async def stop(self) -> None:
        assert self._server
        self._server.close()
        await self._server.wait_closed()

    def _admit(self, _connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/v1/events" and request.headers.get("X-API-Key") == self.key:
            return None
        self.refused += 1
        return _connection.respond(HTTPStatus.UNAUTHORIZED, "no")

    async def _hold(self, connection: ServerConnection) -> None:
        assert connection.subprotocol == "works.v1"
        self.accepted += 1
        self.connections.append(connection)
        self._changed.set()
        try:
            async for text in connection:
                answer = json.loads(text)
                self.order.append(answer["id"])
                self.answers[answer["id"]] = answer
                self._changed.set()
        finally:
            self.connections.remove(connection)
            self._changed.set()

    async def push(self, frame_id: str, message: Any, **more: Any) -> None:
        await self.connections[-1].send(json.dumps({"kind": "event", "id": frame_id, "body": message, **more}))

    async def until(self, condition: Any, limit: float = 30) -> None:
        async with asyncio.timeout(limit):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def answer(self, frame_id: str, limit: float = 30) -> dict[str, Any]:
        await self.until(lambda: frame_id in self.answers, limit)
        return self.answers[frame_id]


@asynccontextmanager
async def works(port: int) -> AsyncIterator[Works]:
    server = Works(port)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
