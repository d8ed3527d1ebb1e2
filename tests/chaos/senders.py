"""Who sends: for each key one sender, which sends a message again, with the same id, until it is accepted."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from tests.chaos.fleet import FLOWS, Member
from tests.chaos.receivers import UNWANTED

#: One message of so many of ``reports`` is one that the receiver refuses for good, and of so many of those keys of
#: ``orders`` that have any: one key in so many.
UNWANTED_EVERY = 97
HOLDING_EVERY, HOLDING_KEYS = 17, 4


@dataclass(frozen=True, slots=True)
class Accepted:
    """``at``: when the 202 came, seconds since 1970; ``tries`` above 1: it may have been accepted more than once."""

    id: str
    flow: str
    key: str
    line: int
    unwanted: bool
    tries: int
    at: float


class Senders:
    """``messages`` in all, spread over ``seconds``, and caught up with after an outage.

    A key of ``orders`` stays with one replica: where a flow spools, order is promised by replica. ``reports`` go to
    any, and after a failure to the next. ``holding``: there are unwanted ones among the orders, too.
    """

    def __init__(
        self, replicas: list[Member], messages: int, seconds: float, keys: int, *, holding: bool = False
    ) -> None:
        self._replicas, self._messages, self._seconds, self._keys = replicas, messages, seconds, keys
        self._holding = holding
        self.accepted: list[Accepted] = []
        self._begun = 0
        self._since = time.monotonic()

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=20, sock_connect=3)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            kinds = list(FLOWS)
            await asyncio.gather(*(self._send(session, number, kinds[number % 2]) for number in range(self._keys)))

    async def _send(self, session: aiohttp.ClientSession, number: int, kind: str) -> None:
        key, line = key_of(number), 0
        while await self.turn():
            message_id = str(uuid.uuid4())
            unwanted = self._unwanted(kind, number, line)
            body = message(kind, message_id, key, line, UNWANTED if unwanted else f"line {line}")
            tries = await self._until_accepted(session, body, self._chooser(kind, number))
            self.accepted.append(Accepted(message_id, FLOWS[kind], key, line, unwanted, tries, time.time()))
            line += 1

    def _unwanted(self, kind: str, number: int, line: int) -> bool:
        if kind == "Report":
            return (number + line) % UNWANTED_EVERY == 0
        order = number // 2
        return self._holding and order % HOLDING_KEYS == 0 and (order + line) % HOLDING_EVERY == HOLDING_EVERY - 1

    async def turn(self) -> bool:
        """Waits until the next message of anybody is due; False when all are sent."""
        if self._begun >= self._messages:
            return False
        self._begun += 1
        due = self._since + self._seconds * self._begun / self._messages
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        return True

    def _chooser(self, kind: str, number: int) -> Callable[[int], Member]:
        moves = 0 if kind == "Order" else 1
        return lambda tries: self._replicas[(number // 2 + moves * tries) % len(self._replicas)]

    @staticmethod
    async def _until_accepted(
        session: aiohttp.ClientSession, body: dict[str, object], choose: Callable[[int], Member]
    ) -> int:
        tries = 0
        while True:
            tries += 1
            try:
                async with session.post(f"{choose(tries).url}/v1/messages", json=body) as answer:
                    if answer.status == 202:
                        return tries
                    assert answer.status == 503, await answer.text()
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.25)


def key_of(number: int) -> str:
    return str(uuid.UUID(int=(0x0198 << 112) | (7 << 76) | (2 << 62) | number))


def message(kind: str, message_id: str, key: str, line: int, text: str) -> dict[str, object]:
    return {
        "header": {"messageId": message_id, "source": "a" if kind == "Order" else "b", "type": kind},
        "payload": {"orderId": key, "line": line, "text": text},
    }
