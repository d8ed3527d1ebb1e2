"""What a hostile client may send to the reference analysis: its connection ends, and others are served."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile.budget import budget
from tests.integration.reference.conftest import B
from tests.integration.reference.reference_service import API_KEY, Service, running
from tests.integration.reference.test_analysis import PROTOCOL, ask, opened, submit

PATH = "/v1/queue"
LONGEST = 1024 * 1024
FIN, TEXT, CONTINUATION, CLOSE, PING = 0x80, 1, 0, 8, 9


def frame(first: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """Masked with zeros. ``length``: what the header says, by default the truth."""
    said = len(payload) if length is None else length
    if said < 126:
        head = bytes((first, 0x80 | said))
    elif said < 1 << 16:
        head = bytes((first, 0x80 | 126)) + struct.pack(">H", said)
    else:
        head = bytes((first, 0x80 | 127)) + struct.pack(">Q", said)
    return head + bytes(4) + payload


HOSTILE = {
    "a length of 2^62": frame(FIN | TEXT, b"x", 1 << 62),
    "a length with its highest bit": frame(FIN | TEXT, b"x", (1 << 64) - 1),
    "a frame larger than is taken": frame(FIN | TEXT, b"x" * (2 * LONGEST)),
    "fragments that add up": frame(TEXT, b"x" * 600_000) + frame(FIN | CONTINUATION, b"x" * 600_000),
    "empty fragments without end": frame(TEXT) + frame(CONTINUATION) * 100_000 + frame(FIN | CONTINUATION, b"]"),
    "a continuation of nothing": frame(FIN | CONTINUATION, b"x"),
    "a compressed frame": frame(FIN | 0x40 | TEXT, b"\x00\x01\xff\xfe"),
    "a reserved opcode": frame(FIN | 3, b"x"),
    "a frame without a mask": bytes((FIN | TEXT, 1)) + b"x",
    "text that is no UTF-8": frame(FIN | TEXT, b"\xff\xfe\xfd"),
    "a long ping": frame(FIN | PING, b"p" * 1000),
    "half a closing code": frame(FIN | CLOSE, b"\x03"),
    "pings without end": frame(FIN | PING, b"p") * 20_000,
    "no JSON": frame(FIN | TEXT, b"["),
    "deep JSON": frame(FIN | TEXT, b"[" * 100_000),
    "a large number": frame(FIN | TEXT, b"9" * 100_000),
}


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(Service(*B, tmp_path_factory.mktemp("b") / "data")) as service:
        yield service


async def said_to(service: Service, said: bytes) -> None:
    """Behind a right handshake; then the client ends its side and waits for the end of the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    lines = [f"GET {PATH} HTTP/1.1", f"Host: 127.0.0.1:{service.port}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}", "Sec-WebSocket-Version: 13"]
    lines += [f"Sec-WebSocket-Protocol: {PROTOCOL}", f"X-API-Key: {API_KEY}", "", ""]
    writer.write("\r\n".join(lines).encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    assert b" 101 " in head.splitlines()[0]

    async def hear() -> None:
        while await reader.read(65536):
            pass

    hearing = asyncio.create_task(hear())
    try:
        writer.write(said)
        await asyncio.wait_for(writer.drain(), 30)
        with suppress(OSError):  # closed already
            writer.write_eof()
        await asyncio.wait_for(hearing, 60)
    except ConnectionError:
        pass
    finally:
        hearing.cancel()
        await asyncio.wait({hearing})
        writer.close()


async def others_are_served(service: Service) -> None:
    assert service.process
    assert service.process.poll() is None
    async with opened(service, PATH) as socket:
        good = submit(str(uuid.uuid4()), 1)
        assert await ask(socket, good) == {"kind": "ack", "id": good["id"]}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_frame_ends_its_connection_and_others_are_served(analysis: Service, name: str) -> None:
    await said_to(analysis, HOSTILE[name])
    await others_are_served(analysis)


@budget(15)
@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(sorted(HOSTILE.values(), key=len)[:8])), max_size=8))
def test_any_bytes_behind_a_handshake_harm_nobody_else(analysis: Service, parts: list[bytes]) -> None:
    asyncio.run(said_to(analysis, b"".join(parts)))
    asyncio.run(others_are_served(analysis))
