"""A load generator for one HTTP path: so many connections, one request at a time on each, bounded in count and time."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def post(path: str, body: bytes, media_type: str = "application/json") -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {media_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Load:
    """Sends ``requests`` until they end or ``seconds`` are over; every answer must be a 202."""

    def __init__(self, port: int, requests: Iterator[bytes], connections: int = 64) -> None:
        self._port, self._requests, self._connections = port, requests, connections
        self.answered = 0
        self.refused: bytes | None = None
        self._left = connections
        self._over = False

    async def run(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        made = [
            await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
            for _ in range(self._connections)
        ]
        stop = loop.call_later(seconds, self._stop)
        try:
            async with asyncio.timeout(seconds + 30):
                await self._ended
        finally:
            stop.cancel()
            for transport, _ in made:
                transport.close()
        if self.refused:
            raise SystemExit(f"not accepted: {self.refused[:500].decode(errors='replace')}")

    def _stop(self) -> None:
        self._over = True

    def next(self) -> bytes | None:
        request = None if self._over or self.refused else next(self._requests, None)
        if request is None:
            self._left -= 1
            if self._left == 0 and not self._ended.done():
                self._ended.set_result(None)
        return request


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self._load = load
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        request = self._load.next()
        if request is not None:
            self._transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._got += data
        head = self._got.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._got, 0, head + 2)
        if length is None or len(self._got) < head + 4 + int(length[1]):
            return
        if self._got[9:12] == b"202":
            self._load.answered += 1
        else:
            self._load.refused = self._got
        self._got = b""
        self._send()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self._load._ended.done():  # noqa: SLF001 - the two are one
            self._load.refused = b"the connection was closed"
            self._load._ended.set_result(None)  # noqa: SLF001


async def open_loop(port: int, path: str, bodies: Iterator[tuple[str, bytes]], rate: float) -> dict[str, float]:
    """One request every 1/rate s, whether answered or not; when each was sent, by the id of its message."""
    free = [await asyncio.open_connection("127.0.0.1", port) for _ in range(32)]
    sent: dict[str, float] = {}
    under_way: set[asyncio.Task[None]] = set()

    async def one(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes) -> None:
        reader, writer = connection
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if head[9:12] != b"202" or length is None:
            raise SystemExit(f"not accepted: {head.decode(errors='replace')}")
        await reader.readexactly(int(length[1]))
        free.append(connection)

    due = time.monotonic()
    for message_id, body in bodies:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        due += 1 / rate
        while not free:  # noqa: ASYNC110 - a poll is cheaper than a future a request
            await asyncio.sleep(0.001)
        sent[message_id] = time.monotonic()
        task = asyncio.create_task(one(free.pop(), post(path, body)))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    for _, writer in free:
        writer.close()
    return sent
