"""Load while Kafka comes and goes, and what Kafka's own records say of it afterwards."""

import asyncio
import json
import time
from collections import Counter
from typing import Any

import aiohttp
from tests.integration.ingress.site import Site, message_id, order

from linkspan.kernel.topics import Headers

#: Short, so that a test is; the order of things is the same.
QUICK = {"LINKSPAN_APPEND_SECONDS": "3", "LINKSPAN_SPOOL_GRACE_SECONDS": "1", "LINKSPAN_SPOOL_RESERVE_BYTES": "0"}


class Load:
    """``workers`` senders at once on a few keys. Every other one sends a message a request, a refused one again with
    the same id; the others send batches, in which later messages of a key do not wait for earlier ones."""

    def __init__(self, url: str, keys: list[str], workers: int = 8, pause: float = 0.0) -> None:
        self._url, self._keys, self._pause = url, keys, pause
        self.accepted: dict[str, float] = {}
        self.refused = 0
        self._stop = False
        self._tasks = [asyncio.create_task(self._work(number)) for number in range(workers)]

    async def _work(self, number: int) -> None:
        async with aiohttp.ClientSession(self._url) as client:
            while not self._stop:
                number += 2
                if number % 2:
                    await self._send_batch(client, number)
                    continue
                message = order(self._keys[number // 2 % len(self._keys)], number)
                while not self._stop and not await self._sent(client, message):  # noqa: ASYNC110 - paced
                    await asyncio.sleep(0.05)
                await asyncio.sleep(self._pause)

    async def _send_batch(self, client: aiohttp.ClientSession, number: int) -> None:
        messages = [order(self._keys[(number + n) % 3], number + n) for n in range(20)]
        try:
            taken = await send_batch(client, messages)
        except aiohttp.ClientError:
            taken = set()
        self.accepted |= dict.fromkeys(taken, time.monotonic())
        self.refused += len(messages) - len(taken)
        await asyncio.sleep(0.02 if taken else 0.1)

    async def _sent(self, client: aiohttp.ClientSession, message: dict[str, Any]) -> bool:
        try:
            async with client.post("/v1/messages", json=message) as answer:
                if answer.status == 202:
                    self.accepted[message_id(message)] = time.monotonic()
                    return True
                assert answer.status == 503, await answer.text()
                assert int(answer.headers["Retry-After"]) > 0
        except aiohttp.ClientError:
            pass
        self.refused += 1
        return False

    def since(self, moment: float) -> int:
        return sum(at > moment for at in self.accepted.values())

    async def stop(self) -> set[str]:
        """The ids that were accepted."""
        self._stop = True
        await asyncio.gather(*self._tasks)
        return set(self.accepted)


async def send_batch(client: aiohttp.ClientSession, messages: list[dict[str, Any]]) -> set[str]:
    """Ids of those that were taken."""
    body = "\n".join(json.dumps(message) for message in messages)
    headers = {"Content-Type": "application/x-ndjson"}
    async with client.post("/v1/messages:batch", data=body, headers=headers) as answer:
        results = (await answer.json())["results"]
    return {message_id(one) for one, result in zip(messages, results, strict=True) if result["status"] == 202}


async def spooled(client: aiohttp.ClientSession) -> int:
    async with client.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith("linkspan_spool_messages{")))


async def until_drained(client: aiohttp.ClientSession, limit: float = 60) -> None:
    deadline = time.monotonic() + limit
    while await spooled(client):
        assert time.monotonic() < deadline, "the spool was not drained"
        await asyncio.sleep(0.05)


async def until_accepting(client: aiohttp.ClientSession, limit: float = 40) -> str:
    """Sends one message until it is taken; its id."""
    deadline = time.monotonic() + limit
    message = order()
    while time.monotonic() < deadline:
        try:
            async with client.post("/v1/messages", json=message) as answer:
                if answer.status == 202:
                    return message_id(message)
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)
    raise AssertionError("nothing is taken")


def about(record: Any) -> dict[str, str]:
    return {name: value.decode("latin-1") for name, value in record.headers}


async def proof(site: Site, accepted: set[str]) -> Counter[str]:
    """Asserts that all is there, and in order per key and replica; how often each id is there beyond once."""
    seen: Counter[str] = Counter()
    last: dict[tuple[bytes, str], int] = {}
    for record in await site.records():
        header = about(record)
        identity = header[Headers.MESSAGE_ID]
        seen[identity] += 1
        if seen[identity] > 1:
            continue
        lane, number = (record.key, header[Headers.ACCEPTED_BY]), int(header[Headers.ACCEPTED_SEQ])
        assert number > last.get(lane, 0), f"{identity}: {number} came after {last[lane]}"
        last[lane] = number
    missing = accepted - seen.keys()
    assert not missing, f"{len(missing)} of {len(accepted)} are lost"
    return Counter({identity: count - 1 for identity, count in seen.items() if count > 1})
