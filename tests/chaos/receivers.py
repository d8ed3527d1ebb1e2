"""The two systems of the chaos run as receivers: each keeps its own record, on disk, and misbehaves on command.

The record has a line for each delivery, written before anything is answered: arrival number, id, key, line, sequence,
redelivery mark, time, connection, whether it is of an unwanted kind, and how the receiver treats it; ``took`` says
whether it keeps the message.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from linkspan.broker.ports import HOST, choose

#: Ways to answer. The first ones keep the message: in time, too late for every limit, never, more than once, or
#: with the connection cut instead of the answer. The others say that they did not.
TAKES = {"fine", "late", "silence", "twice", "cut"}
REFUSES = {"500", "503", "429", "busy"}
LATE = 6.0
#: A message whose text is this is refused for good, until somebody mends the system for it.
UNWANTED = "unwanted"


class Journal:
    def __init__(self, file: Path) -> None:
        self._out = file.open("a", encoding="utf-8", buffering=1)
        self._numbers = itertools.count()
        self.ids: set[str] = set()

    def keep(self, said: dict[str, Any], how: str, connection: str, refused: bool) -> None:
        payload = said["body"]["payload"]
        took = how in TAKES and not refused
        entry = {
            "n": next(self._numbers),
            "at": time.time(),
            "id": said["id"],
            "key": payload["orderId"],
            "line": payload["line"],
            "sequence": said["sequence"],
            "mark": said["redelivery"],
            "retries": said["body"]["metadata"]["retryCount"],
            "connection": connection,
            "how": how,
            "unwanted": payload["text"] == UNWANTED,
            "took": took,
        }
        self._out.write(json.dumps(entry) + "\n")
        if took or refused:
            self.ids.add(said["id"])


class Receiver:
    """``how`` for a ``share`` of the deliveries, ``fine`` for the others; ``answering`` seconds before an answer."""

    def __init__(self, file: Path, seed: int, answering: float = 0.0) -> None:
        self.file = file
        self.journal = Journal(file)
        self.port = choose()
        self.how, self.share = "fine", 0.0
        self.answering = answering
        self.mended: set[str] = set()
        self._rng = random.Random(seed)

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def manner(self) -> str:
        return self.how if self._rng.random() < self.share else "fine"

    def refuses(self, said: dict[str, Any]) -> bool:
        """For good."""
        return said["body"]["payload"]["text"] == UNWANTED and said["id"] not in self.mended


class RestReceiver(Receiver):
    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port, reuse_address=True).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        fields, body = request.headers, json.loads(await request.read())
        said = {
            "id": fields["Idempotency-Key"],
            "sequence": int(fields["Linkspan-Sequence"]),
            "redelivery": fields.get("Linkspan-Redelivery") == "possible",
            "body": body,
        }
        how, refused = self.manner(), self.refuses(said)
        self.journal.keep(said, how, f"{id(request.transport):x}", refused)
        await asyncio.sleep(self.answering)
        if how == "silence":
            await asyncio.sleep(60)
        if how == "late":
            await asyncio.sleep(LATE)
        if how == "cut":
            _reset(request.transport)
        if how in REFUSES:
            headers = {"Retry-After": "1"} if how in {"503", "429"} else {}
            return web.json_response({}, status=503 if how == "busy" else int(how), headers=headers)
        return web.json_response({}, status=422 if refused else 201)


def _reset(transport: asyncio.BaseTransport | None) -> None:
    """A RST, not an orderly end."""
    if isinstance(transport, asyncio.Transport):
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


class SocketReceiver(Receiver):
    """A WebSocket queue; what connects to ``sources`` is a path's own."""

    def __init__(self, file: Path, seed: int, answering: float = 0.0) -> None:
        super().__init__(file, seed, answering)
        self.sources: dict[str, Callable[[ServerConnection], Awaitable[None]]] = {}

    async def start(self) -> None:
        self._server: Server = await serve(self._serve, HOST, self.port, compression=None, close_timeout=0.2)

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, connection: ServerConnection) -> None:
        hold = self.sources.get(connection.request.path) if connection.request else None
        if hold:
            await hold(connection)
            return
        tasks: set[asyncio.Task[None]] = set()
        async for frame in connection:
            said = json.loads(frame)
            how, refused = self.manner(), self.refuses(said)
            self.journal.keep(said, how, connection.id.hex[:12], refused)
            task = asyncio.create_task(self._answer(connection, said["id"], how, refused))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _answer(self, connection: ServerConnection, message_id: str, how: str, refused: bool) -> None:
        await asyncio.sleep(LATE if how == "late" else self.answering)
        if how == "cut":
            _reset(connection.transport)
        if how in {"cut", "silence"}:
            return
        answer: dict[str, Any] = {"kind": "ack", "id": message_id}
        if refused:
            faults = [{"field": "payload.text", "error": "unwanted"}]
            answer = {"kind": "nack", "id": message_id, "reason": "invalid", "errors": faults}
        elif how in REFUSES:
            answer = {"kind": "nack", "id": message_id, "reason": "busy", "errors": [], "retryAfter": 0.5}
        with suppress(ConnectionClosed):
            for _ in range(2 if how == "twice" else 1):
                await connection.send(json.dumps(answer))
