"""A destination that answers more often than it is asked: no answer is taken for that of another message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from tests.integration.egress.bridge import order_id
from tests.integration.egress.conftest import RETRY, MakeBridge

pytestmark = pytest.mark.kafka

TAKEN = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Talkative:
    """Takes the first message of each connection and answers it twice, the second time ``later`` (seconds); all other
    messages of a connection are refused."""

    later: float = 0.0
    taken: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = True
            while True:
                line = await _line_of_order(reader)
                if not first:
                    self.refused.append(line)
                    writer.write(BUSY)
                    continue
                first = False
                self.taken.append(line)
                writer.write(TAKEN if self.later else TAKEN * 2)
                if self.later:
                    await asyncio.sleep(self.later)
                    writer.write(TAKEN)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def _line_of_order(reader: asyncio.StreamReader) -> int:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.split("content-length:")[1].split("\r\n")[0])
    return int(json.loads(await reader.readexactly(length))["payload"]["line"])


@pytest.fixture
async def talkative() -> AsyncIterator[Talkative]:
    made = Talkative()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


@pytest.mark.parametrize("later", [0.0, 0.1], ids=["in one piece", "while nothing is asked"])
async def test_a_second_answer_is_not_the_answer_to_the_next_message(
    bridge: MakeBridge, talkative: Talkative, later: float
) -> None:
    talkative.later = later
    store = {"kind": "rest", "url": f"http://127.0.0.1:{talkative.port}", "retry": RETRY}
    made = await bridge(store, partitions=1)
    async with made.serving():
        for line in range(4):
            await made.append((order_id(1), line))
            await made.wait_outcomes(line + 1)
            await asyncio.sleep(0.3)
    assert talkative.taken == [0, 1, 2, 3]
    assert not talkative.refused
