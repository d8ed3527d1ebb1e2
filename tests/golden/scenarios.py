"""What is recorded: each makes a small integration, lets something happen to it, and says where its file lies."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from linkspan.broker import EmbeddedKafka
from linkspan.kernel.commands import DISCARD, REDRIVE, Command, CommandCodec
from linkspan.kernel.topics import control_topic
from tests.chaos.harness import Owner, Traps
from tests.golden.ingress import drained_spool, polled_feed
from tests.integration.egress.bridge import FLOW, Bridge, order_id, write_integration
from tests.integration.egress.destinations import Got, RestDestination, until

Scenario = Callable[[EmbeddedKafka, Path], Awaitable[tuple[Path, str]]]
TRANSFORM = [
    {"jsonata": '{"orderId": orderId, "line": line + 100, "text": $uppercase(text) & " of " & $header.source}'}
]
ORDERS = [(order_id(key), line) for line in range(4) for key in range(4)]


async def _bridge(broker: EmbeddedKafka, folder: Path, rest: RestDestination, **flow: Any) -> Bridge:
    retry = {"attempts": 3, "first": "50ms", "cap": "200ms"}
    system = {"kind": "rest", "url": rest.url, "retry": retry}
    made = Bridge(write_integration(folder, system, partitions=2, **flow), broker.bootstrap)
    await made.create_topics()
    return made


async def plain(broker: EmbeddedKafka, folder: Path) -> tuple[Path, str]:
    """Everything is delivered, transformed; two owners, one after the other."""
    rest = await RestDestination().start()
    made = await _bridge(broker, folder, rest, transform=TRANSFORM)
    for part in (ORDERS[:8], ORDERS[8:]):
        await made.append(*part, priority="high")
        async with made.serving():
            await made.wait_outcomes(8 if part == ORDERS[:8] else 16)
            await asyncio.sleep(3)
    await rest.stop()
    return made.path, FLOW


def _unlucky(got: Got) -> int:
    return {(order_id(1), 1): 500, (order_id(2), 2): 422}.get(got.order, 201)


async def _letters(broker: EmbeddedKafka, folder: Path, rest: RestDestination) -> Bridge:
    """Retries that run out, a refusal, bytes that are none, a message too old; their keys are held."""
    rest.reply = _unlucky
    made = await _bridge(broker, folder, rest)
    await made.append(*ORDERS)
    await made.append_raw(b"\xc3\x01 no such record", order_id(7))
    await made.append((order_id(7), 1))
    await made.append((order_id(8), 0), ttl=5, age=60.0)
    async with made.serving():
        await made.wait_outcomes(len(ORDERS) + 3)
        await asyncio.sleep(3)
    return made


async def dead_letters(broker: EmbeddedKafka, folder: Path) -> tuple[Path, str]:
    rest = await RestDestination().start()
    made = await _letters(broker, folder, rest)
    await rest.stop()
    return made.path, FLOW


async def redriven(broker: EmbeddedKafka, folder: Path) -> tuple[Path, str]:
    """After the dead letters one is redriven, one discarded, and one more redriven in vain; new ones arrive."""
    rest = await RestDestination().start()
    made = await _letters(broker, folder, rest)
    letters = [one for one in await made.outcomes() if one["kind"] == "dead_lettered"]
    rest.reply = lambda _got: 201
    kinds = {order_id(1): REDRIVE, order_id(2): DISCARD, order_id(7): REDRIVE}
    await _command(made, [(kinds[one["key"]], one["partition"], one["offset"]) for one in letters])
    async with made.serving():
        await made.append((order_id(1), 4), (order_id(2), 4), (order_id(7), 2))
        await made.wait_outcomes(2, 60, ("opened",))
        await asyncio.sleep(3)
    await rest.stop()
    return made.path, FLOW


async def _command(made: Bridge, wanted: list[tuple[str, int, int]]) -> None:
    codec, topic = CommandCodec(made.catalog), control_topic(made.integration.integration)
    async with AIOKafkaProducer(bootstrap_servers=made.bootstrap) as producer:
        for kind, partition, offset in wanted:
            command = Command(kind, FLOW, partition, offset, "recorder", "golden history")
            await producer.send_and_wait(topic, codec.encode(command), partition=0)


async def duplicates(broker: EmbeddedKafka, folder: Path) -> tuple[Path, str]:
    """The same records again: duplicates, also after a change of owner."""
    rest = await RestDestination().start()
    made = await _bridge(broker, folder, rest)
    sent = [made.event(key, line) for key, line in ORDERS]
    async with AIOKafkaProducer(bootstrap_servers=made.bootstrap) as producer:
        for _ in range(2):
            for (key, _line), (value, headers) in zip(ORDERS, sent, strict=True):
                await producer.send_and_wait(
                    made.topics.events, value, key.encode(), int(key[-1], 16) % 2, None, headers
                )
            async with made.serving():
                await until(lambda: len(rest.got) >= len(ORDERS))
                await asyncio.sleep(4)
    assert len(rest.got) == len(ORDERS)
    await rest.stop()
    return made.path, FLOW


async def stale_outcomes(broker: EmbeddedKafka, folder: Path) -> tuple[Path, str]:
    """An owner sleeps past its session with answers under way; what it appends when it wakes is void."""
    rest = await RestDestination(hold=0.3).start()
    made = await _bridge(broker, folder, rest)
    traps = Traps()
    owners = [Owner(made, traps, 4.0) for _ in range(2)]
    try:
        await owners[0].start()
        traps.set({"message": "attempt"}, skip=3)
        await made.append(*[(order_id(key), line) for line in range(3) for key in range(12)])
        sleeper = await traps.victim(30)
        await owners[1].start()
        await made.wait_outcomes(36, 60)
        sleeper.signal(signal.SIGCONT)
        await asyncio.sleep(6)
    finally:
        for owner in owners:
            owner.signal(signal.SIGCONT)
            await owner.kill()
    await rest.stop()
    return made.path, FLOW


async def killed_takeovers(broker: EmbeddedKafka, folder: Path) -> tuple[Path, str]:
    """Killed in the middle of deliveries, then between epoch and mark, then between mark and first checkpoint."""
    rest = await RestDestination(hold=0.05).start()
    made = await _bridge(broker, folder, rest)
    traps = Traps()
    for trap in ({"message": "attempt"}, {"step": 6}, {"step": 7}, {"step": 8}):
        owner = Owner(made, traps, 4.0)
        traps.set(trap, skip=10 if "message" in trap else 0)
        await owner.start()
        await made.append(*[(order_id(key), len(rest.got) + 1000) for key in range(12)])
        await traps.victim(60)
        await owner.kill()
    owner = Owner(made, traps, 4.0)
    await owner.start()
    await made.wait_outcomes(48, 60)
    await asyncio.sleep(3)
    await owner.kill()
    await rest.stop()
    return made.path, FLOW


SCENARIOS: dict[str, Scenario] = {
    "plain": plain,
    "dead-letters": dead_letters,
    "redriven": redriven,
    "duplicates": duplicates,
    "stale-outcomes": stale_outcomes,
    "killed-takeovers": killed_takeovers,
    "spool": drained_spool,
    "poller": polled_feed,
}
