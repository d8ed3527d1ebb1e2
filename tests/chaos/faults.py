"""Everything that goes wrong in a chaos run, drawn from a seed: each kind once, in random order, then all again."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.fleet import Member
from tests.chaos.nodes import Node
from tests.chaos.receivers import Receiver
from tests.chaos.toxiproxy import TOXICS, Toxiproxy
from tests.chaos.verdict import Fault


@dataclass
class World:
    """What can break. ``spare``: joins and leaves egress while the run goes on."""

    broker: Node
    toxiproxy: Toxiproxy
    receivers: dict[str, Receiver]
    ingress: list[Member]
    egress: list[Member]
    spare: Member
    session: float
    busy: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[None]:
        """One fault at a time for each part."""
        while name in self.busy:  # noqa: ASYNC110 - rare
            await asyncio.sleep(0.05)
        self.busy.add(name)
        try:
            yield
        finally:
            self.busy.remove(name)


Inject = Callable[[World, random.Random], Awaitable[None]]
Card = tuple[str, str, Inject]


def _victim(members: list[Member], world: World, rng: random.Random) -> Member:
    free = [member for member in members if member.name not in world.busy] or members
    return rng.choice(free)


def _killed(role: str) -> Inject:
    async def inject(world: World, rng: random.Random) -> None:
        member = _victim(getattr(world, role), world, rng)
        async with world.alone(member.name):
            member.kill()
            await asyncio.sleep(rng.uniform(0, 3))
            member.start()
            await asyncio.sleep(2)

    return inject


def _stopped(role: str, shortest: float, longest: float) -> Inject:
    """SIGSTOP for so many sessions."""

    async def inject(world: World, rng: random.Random) -> None:
        member = _victim(getattr(world, role), world, rng)
        async with world.alone(member.name):
            member.signal(signal.SIGSTOP)
            await asyncio.sleep(world.session * rng.uniform(shortest, longest))
            member.signal(signal.SIGCONT)

    return inject


async def _rolled(world: World, rng: random.Random) -> None:
    member = _victim(world.egress, world, rng)
    async with world.alone(member.name):
        assert await member.stop() == 0
        member.start()
        await asyncio.sleep(1)


async def _joins_and_leaves(world: World, rng: random.Random) -> None:
    async with world.alone(world.spare.name):
        world.spare.start()
        await asyncio.sleep(rng.uniform(4, 8))
        assert await world.spare.stop() == 0


def _broker_away(orderly: bool) -> Inject:
    async def inject(world: World, rng: random.Random) -> None:
        async with world.alone("kafka"):
            await asyncio.to_thread(world.broker.stop if orderly else world.broker.kill)
            await asyncio.sleep(rng.choice([0.0, rng.uniform(1, 4), world.session * 2.5]))
            await asyncio.to_thread(world.broker.start)

    return inject


async def _broker_stopped(world: World, rng: random.Random) -> None:
    async with world.alone("kafka"):
        os.kill(world.broker.pid, signal.SIGSTOP)
        await asyncio.sleep(world.session * rng.uniform(0.3, 1.5))
        os.kill(world.broker.pid, signal.SIGCONT)


def _disturbed(proxy: str, kind: str) -> Inject:
    async def inject(world: World, rng: random.Random) -> None:
        async with world.alone(f"way to {proxy}"):
            await world.toxiproxy.disturb(proxy, kind)
            await asyncio.sleep(rng.choice([rng.uniform(0.5, 3), world.session * rng.uniform(1, 2)]))
            await world.toxiproxy.heal(proxy, kind)

    return inject


def _misbehaving(name: str, how: str) -> Inject:
    async def inject(world: World, rng: random.Random) -> None:
        receiver = world.receivers[name]
        async with world.alone(name):
            receiver.how, receiver.share = how, rng.choice([0.05, 0.3, 1.0])
            await asyncio.sleep(rng.uniform(1, 4))
            receiver.how, receiver.share = "fine", 0.0

    return inject


def deck() -> list[Card]:
    cards: list[Card] = [
        ("kill -9", "egress", _killed("egress")),
        ("kill -9", "egress", _killed("egress")),
        ("kill -9", "ingress", _killed("ingress")),
        ("SIGSTOP", "egress", _stopped("egress", 1.2, 2.2)),
        ("SIGSTOP", "egress", _stopped("egress", 0.1, 0.9)),
        ("SIGSTOP", "ingress", _stopped("ingress", 0.3, 2.5)),
        ("restart", "egress", _rolled),
        ("join and leave", "egress", _joins_and_leaves),
        ("kill -9", "Kafka", _broker_away(orderly=False)),
        ("stop", "Kafka", _broker_away(orderly=True)),
        ("SIGSTOP", "Kafka", _broker_stopped),
    ]
    cards += [(kind, "Kafka", _disturbed("kafka", kind)) for kind in (*TOXICS, "down")]
    cards += [(kind, name, _disturbed(name, kind)) for name in ("A", "B") for kind in (*TOXICS, "down")]
    manners = {"A": ("late", "silence", "cut", "500", "503", "429"), "B": ("late", "silence", "cut", "twice", "busy")}
    cards += [(f"answers {how}", name, _misbehaving(name, how)) for name, hows in manners.items() for how in hows]
    return cards


async def inject(world: World, seed: int, seconds: float, only: str, at_once: int = 2) -> list[Fault]:
    """Faults until ``seconds`` have passed, of those whose name ``only`` matches; returns when the last is healed."""
    rng, done, end = random.Random(seed), list[Fault](), time.monotonic() + seconds
    hand: list[Card] = []
    cards = [card for card in deck() if re.search(only, f"{card[0]} {card[1]}")]
    slots = asyncio.Semaphore(at_once)

    async def one(card: Card, own: random.Random) -> None:
        kind, what, how = card
        begun = time.time()
        try:
            await how(world, own)
        finally:
            done.append(Fault(kind, what, begun, time.time()))
            slots.release()

    async with asyncio.TaskGroup() as tasks:
        while time.monotonic() < end:
            await slots.acquire()
            hand = hand or rng.sample(cards, len(cards))
            tasks.create_task(one(hand.pop(), random.Random(rng.random())))
            await asyncio.sleep(rng.uniform(0.5, 6.0))
    return done


def settings() -> dict[str, Any]:
    """``seed``, ``seconds``, ``messages`` and ``only`` (a pattern for the faults) of the run, from the environment."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
    seconds = float(os.environ.get("CHAOS_SECONDS") or 120)
    messages = int(os.environ.get("CHAOS_MESSAGES") or seconds * 60)
    return {"seed": seed, "seconds": seconds, "messages": messages, "only": os.environ.get("CHAOS_ONLY", "")}
