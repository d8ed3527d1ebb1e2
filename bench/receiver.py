"""The receiving system: a WebSocket server that acknowledges each frame at once and remembers when it came."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

_ID = re.compile(rb'"(?:id|messageId)": ?"([0-9a-f-]{36})"')


class Receiver:
    """``count``: frames so far; ``came``: when each id came first, kept while ``remember``."""

    def __init__(self) -> None:
        self.count = 0
        self.remember = False
        self.came: dict[str, float] = {}
        self._server: Server | None = None

    async def start(self) -> int:
        self._server = await serve(self._serve, "127.0.0.1", 0, compression=None, max_size=2**22, ping_interval=None)
        return int(next(iter(self._server.sockets)).getsockname()[1])

    async def _serve(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await self._acknowledge(connection)

    async def _acknowledge(self, connection: ServerConnection) -> None:
        async for frame in connection:
            found = _ID.search(frame if isinstance(frame, bytes) else frame.encode())
            if found is None:
                continue
            self.count += 1
            if self.remember:
                self.came.setdefault(found[1].decode(), time.monotonic())
            await connection.send(b'{"kind":"ack","id":"%b"}' % found[1], text=True)

    async def until(self, count: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.count < count and time.monotonic() < deadline:  # noqa: ASYNC110 - an event a frame would cost it
            await asyncio.sleep(0.005)
        return self.count >= count

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            await self._server.wait_closed()
