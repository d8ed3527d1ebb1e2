"""What a hostile system may send over a WebSocket: the connection ends, or goes on; nothing else is touched."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection
from websockets.utils import accept_key

from linkspan.egress.deliver.socket import NotConnected, Socket, open_socket
from linkspan.kernel.spec import System
from tests.hostile.budget import budget
from tests.integration.egress.bridge import order_id
from tests.integration.egress.conftest import MakeBridge, bridge, queue, queue_system, rest
from tests.integration.egress.destinations import Got, QueueDestination, Reply

__all__ = ["bridge", "queue", "rest"]
LONGEST = 1024 * 1024
FIN, TEXT, CONTINUATION, CLOSE, PING = 0x80, 1, 0, 8, 9


def frame(first: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """``length``: what the header says, by default the truth."""
    said = len(payload) if length is None else length
    if said < 126:
        return bytes((first, said)) + payload
    if said < 1 << 16:
        return bytes((first, 126)) + struct.pack(">H", said) + payload
    return bytes((first, 127)) + struct.pack(">Q", said) + payload


HOSTILE = {
    "a length of 2^62": frame(FIN | TEXT, b"x", 1 << 62),
    "a length with its highest bit": frame(FIN | TEXT, b"x", (1 << 64) - 1),
    "a frame larger than is taken": frame(FIN | TEXT, b"x" * (2 * LONGEST)),
    "fragments that add up": frame(TEXT, b"x" * 600_000) + frame(FIN | CONTINUATION, b"x" * 600_000),
    "empty fragments without end": frame(TEXT) + frame(CONTINUATION) * 300_000,
    "a continuation of nothing": frame(FIN | CONTINUATION, b"x"),
    "a compressed frame": frame(FIN | 0x40 | TEXT, b"\x00\x01\xff\xfe"),
    "a reserved opcode": frame(FIN | 3, b"x"),
    "a masked frame of a server": bytes((FIN | TEXT, 0x81)) + b"\0\0\0\0x",
    "text that is no UTF-8": frame(FIN | TEXT, b"\xff\xfe\xfd"),
    "a long ping": frame(FIN | PING, b"p" * 1000),
    "a ping in fragments": frame(PING, b"p"),
    "half a closing code": frame(FIN | CLOSE, b"\x03"),
    "a closing code that is none": frame(FIN | CLOSE, struct.pack(">H", 65535) + b"\xff"),
    "pings without end": frame(FIN | PING, b"p") * 100_000,
}


@asynccontextmanager
async def sending(said: bytes, subprotocol: str = "") -> AsyncIterator[str]:
    """Whoever connects is taken, gets these bytes, and then the end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        key = next(line.partition(":")[2].strip() for line in head if line.lower().startswith("sec-websocket-key"))
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Protocol: {subprotocol}"] if subprotocol else []
        writer.write("\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept_key(key)}", "", ""]).encode() + said)
        try:
            await writer.drain()
            await asyncio.wait_for(reader.read(), 2)
        except (ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


def system(url: str, **options: str) -> System:
    return System.model_validate({"kind": "websocket", "url": url, "auth": {"api_key": "key"}, **options})


async def heard(said: bytes) -> tuple[list[bytes], str]:
    """What is handed on of it, and how the connection ended."""
    got: list[bytes] = []
    async with sending(said) as url, asyncio.timeout(60):
        try:
            socket: Socket = await open_socket(system(url), url)
        except NotConnected as error:
            return got, str(error)
        await socket.use(got.append)
        await socket.close()
        return got, socket.ending


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_frame_ends_the_connection_and_nothing_else(name: str) -> None:
    got, ending = await heard(HOSTILE[name])
    assert ending
    assert all(len(one) <= LONGEST for one in got)
    assert got == [] or name in {"text that is no UTF-8", "a compressed frame", "a masked frame of a server"}


@budget(25)
@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(sorted(HOSTILE.values(), key=len)[:10])), max_size=8))
def test_any_bytes_behind_a_handshake_end_the_connection(parts: list[bytes]) -> None:
    got, ending = asyncio.run(heard(b"".join(parts)))
    assert ending
    assert all(len(one) <= LONGEST for one in got)


async def test_a_subprotocol_that_was_not_offered_is_not_talked() -> None:
    async with sending(b"", "something.else") as url:
        with pytest.raises(NotConnected, match="was not offered"):
            await open_socket(system(url, subprotocol="queue.v1"), url)


class Babbling(QueueDestination):
    """Says nonsense before each answer."""

    async def _answer(self, connection: ServerConnection, got: Got, reply: Reply) -> None:
        for nonsense in ("", "null", "[]", "{", '{"kind": "ack"}', '{"kind": "ack", "id": 7}', "9" * 5000, "[" * 5000):
            await connection.send(nonsense)
        await connection.send(b"\xff\xfe")
        await connection.send('{"kind": "ack", "id": "' + "x" * 1000 + '"}')
        await super()._answer(connection, got, reply)


@pytest.mark.kafka
async def test_nonsense_before_an_answer_costs_no_message(bridge: MakeBridge) -> None:
    babbling = await Babbling().start()
    try:
        made = await bridge(queue_system(babbling))
        async with made.serving():
            await made.append(*((order_id(n % 3), n) for n in range(12)))
            assert [one["kind"] for one in await made.wait_outcomes(12, 60, ("delivered",))] == ["delivered"] * 12
    finally:
        await babbling.stop()
