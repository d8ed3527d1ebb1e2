"""The receiving systems: servers that acknowledge at once each frame, or each request."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ID = re.compile(rb'"(?:id|messageId)": ?"([0-9a-f-]{36})"')


class Counter:
    """``count``: messages so far."""

    def __init__(self) -> None:
        self.count = 0

    async def until(self, count: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.count < count and time.monotonic() < deadline:  # noqa: ASYNC110 - an event a message would cost it
            await asyncio.sleep(0.005)
        return self.count >= count


class Receiver(Counter):
    """Frames; ``came``: when each id came first, kept while ``remember``."""

    def __init__(self) -> None:
        super().__init__()
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

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            await self._server.wait_closed()


class HttpReceiver(Counter):
    """Requests."""

    def __init__(self) -> None:
        super().__init__()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Requests(self), "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server:
            self._server.close()


class _Requests(asyncio.Protocol):
    """One connection; requests have a length, and come one at a time."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head = self._got.find(b"\r\n\r\n")
        length = _LENGTH.search(self._got, 0, head + 2) if head >= 0 else None
        if length is None or len(self._got) < head + 4 + int(length[1]):
            return
        self._got = b""
        self._counter.count += 1
        self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")  # type: ignore[attr-defined]
