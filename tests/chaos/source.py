"""System B as a sender: it pushes reports on the connection that ingress holds to it, and sends each again, with the
same id, until it is acknowledged. Of a key the next one goes only then."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from contextlib import suppress

from tests.chaos.senders import Accepted, Senders, key_of, message
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

PATH = "/v1/events"
#: Without an answer it is sent again after so many seconds, as on every new connection.
AGAIN = 8.0


class Source:
    """``hold`` serves a connection. Messages go out on the newest one."""

    def __init__(self, keys: range) -> None:
        self._keys = keys
        self._connection: ServerConnection | None = None
        self._connected = asyncio.Event()
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        self.open: set[ServerConnection] = set()

    async def hold(self, connection: ServerConnection) -> None:
        self._connection = connection
        self.open.add(connection)
        self._connected.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(False)
        try:
            async for text in connection:
                answer = json.loads(text)
                assert answer["kind"] == "ack", answer
                waiting_one = self._waiting.get(answer["id"])
                if waiting_one and not waiting_one.done():
                    waiting_one.set_result(True)
        finally:
            self.open.discard(connection)
            if self._connection is connection:
                self._connection = None
                self._connected.clear()

    async def run(self, senders: Senders) -> None:
        await asyncio.gather(*(self._send(senders, number) for number in self._keys))

    async def _send(self, senders: Senders, number: int) -> None:
        line = 0
        while await senders.turn():
            message_id = str(uuid.uuid4())
            body = message("Report", message_id, key_of(number), line, f"line {line}")
            tries = await self._until_acknowledged(message_id, body)
            senders.accepted.append(Accepted(message_id, "reports", key_of(number), line, False, tries, time.time()))
            line += 1

    async def _until_acknowledged(self, message_id: str, body: dict[str, object]) -> int:
        tries = 0
        while True:
            tries += 1
            await self._connected.wait()
            waiting = self._waiting[message_id] = asyncio.get_running_loop().create_future()
            if self._connection is not None:
                with suppress(ConnectionClosed):
                    await self._connection.send(json.dumps({"kind": "event", "id": message_id, "body": body}))
            done, _ = await asyncio.wait({waiting}, timeout=AGAIN)
            del self._waiting[message_id]
            if done and waiting.result():
                return tries
