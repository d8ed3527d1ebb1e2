"""The outgoing connection against a server of another library: what it may send arrives whole, and ends are clear."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import Request, Response, Server, ServerConnection, serve
from websockets.typing import Subprotocol

from linkspan.egress.deliver.socket import NotConnected, Socket, open_socket
from linkspan.kernel.spec import System

Handler = Callable[[ServerConnection], Awaitable[None]]


async def serving(handler: Handler, **options: Any) -> tuple[Server, str]:
    server = await serve(handler, "127.0.0.1", 0, **options)
    return server, f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"


def system(url: str, **options: Any) -> System:
    return System.model_validate({"kind": "websocket", "url": url, "auth": {"api_key": "the-key"}, **options})


async def read(handler: Handler, **options: Any) -> tuple[list[bytes], Socket]:
    """All that comes until the server ends the connection."""
    server, url = await serving(handler, **options)
    got: list[bytes] = []
    try:
        async with asyncio.timeout(60):
            socket = await open_socket(system(url), url)
            socket.send(b'{"from":"us"}')
            await socket.use(got.append)
            await socket.close()
    finally:
        server.close()
        await server.wait_closed()
    return got, socket


async def test_messages_come_whole_and_in_order_also_in_fragments_and_those_from_before() -> None:
    heard: list[Any] = []

    async def handler(connection: ServerConnection) -> None:
        await connection.send("early")
        heard.append(await connection.recv())
        await connection.send(["frag", "men", "ted"])
        await connection.ping()
        await connection.send(b"bytes")
        await connection.close(4001, "that was all")

    got, socket = await read(handler)
    assert heard == ['{"from":"us"}']
    assert got == [b"early", b"fragmented", b"bytes"]
    assert socket.ending == "4001 that was all"


async def test_an_answer_that_is_too_long_ends_the_connection() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send("x" * (2 * 1024 * 1024))
        await connection.wait_closed()

    assert (await read(handler))[0] == []

    async def in_parts(connection: ServerConnection) -> None:
        await connection.send(["x" * 600_000, "y" * 600_000])
        await connection.wait_closed()

    assert (await read(in_parts))[0] == []


async def test_a_fault_of_ours_ends_the_connection_and_is_named() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send("x")
        await connection.send("y")
        await connection.wait_closed()

    server, url = await serving(handler)
    socket = await open_socket(system(url), url)

    def broken(_: bytes) -> None:
        raise ValueError("cannot be")

    async with asyncio.timeout(60):
        await socket.use(broken)
    assert socket.ending
    assert socket.ending != "1006"
    server.close()


async def test_a_connection_that_breaks_off_ends_without_a_word() -> None:
    async def handler(connection: ServerConnection) -> None:
        connection.transport.abort()

    assert (await read(handler))[1].ending == "1006"


@pytest.mark.parametrize("status", [HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.FOUND])
async def test_who_does_not_take_the_connection_is_named_with_the_status(status: HTTPStatus) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        assert request.headers["X-API-Key"] == "the-key"
        return connection.respond(status, "no\n")

    async def never(_: ServerConnection) -> None:
        raise AssertionError

    server, url = await serving(never, process_request=refuse)
    with pytest.raises(NotConnected) as raised:
        await open_socket(system(url), url)
    assert raised.value.status == status
    server.close()


async def test_the_subprotocol_is_asked_for() -> None:
    offered: list[str | None] = []

    async def handler(connection: ServerConnection) -> None:
        offered.append(connection.subprotocol)

    server, url = await serving(handler, subprotocols=[Subprotocol("queue.v1")])
    socket = await open_socket(system(url, subprotocol="queue.v1"), url)
    async with asyncio.timeout(60):
        await socket.use(lambda _: None)
    assert offered == ["queue.v1"]
    server.close()


async def test_who_does_not_answer_a_ping_is_left() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(
            line.partition(":")[2].strip()
            for line in head.split("\r\n")
            if line.lower().startswith("sec-websocket-key")
        )
        writer.write(_accepting(key))
        await asyncio.sleep(120)

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with asyncio.timeout(60):
        socket = await open_socket(system(url, heartbeat="1s"), url)
        await socket.use(lambda _: None)
    server.close()


def _accepting(key: str) -> bytes:
    from websockets.utils import accept_key

    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    return "\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept_key(key)}", "", ""]).encode()


async def test_nobody_there_is_not_connected() -> None:
    with pytest.raises(NotConnected) as raised:
        await open_socket(system("ws://127.0.0.1:9/"), "ws://127.0.0.1:9/")
    assert raised.value.status is None


@pytest.mark.parametrize("stage", ["before the request", "after the request", "within the answer"])
async def test_a_handshake_that_is_cut_off_is_not_connected(stage: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if stage != "before the request":
            await reader.readuntil(b"\r\n\r\n")
        if stage == "within the answer":
            writer.write(b"HTTP/1.1 101 Switching")
            await writer.drain()
        reset = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for _ in range(3):
            with pytest.raises(NotConnected):
                await open_socket(system(url), url)
