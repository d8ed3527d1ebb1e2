"""Messages that flow while something is done to a stack, and what became of each of them."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import yaml

from tests.compose.stack import ROOT, PlanManager

EXAMPLE = ROOT / "services/linkspan/reference/examples/analysis-complete.yaml"
_ASK_AGAIN = 0.2


@dataclass(frozen=True, slots=True)
class Accepted:
    """``tries`` above 1: it may have been accepted more than once. ``at``: monotonic."""

    id: str
    plan: str
    tries: int
    at: float


@dataclass
class Load:
    """Analyses for the plan manager, one sender a plan; each goes to one replica of ingress after the other, with the
    same id, until one accepts it."""

    urls: tuple[str, ...]
    plans: int = 16
    per_second: float = 20.0
    accepted: list[Accepted] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Until the block ends; what is begun is then still accepted."""
        stop = asyncio.Event()
        timeout = aiohttp.ClientTimeout(total=15, sock_connect=2)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as senders:
            for number in range(self.plans):
                senders.create_task(self._send(session, number, stop))
            try:
                yield
            finally:
                stop.set()

    @property
    def longest_pause(self) -> float:
        """Seconds between two acceptances."""
        at = [one.at for one in self.accepted]
        return max((after - before for before, after in itertools.pairwise(at)), default=0.0)

    async def _send(self, session: aiohttp.ClientSession, number: int, stop: asyncio.Event) -> None:
        payload = yaml.safe_load(EXAMPLE.read_text())[0]["input"]
        plan, turn = str(uuid.uuid4()), number
        while not stop.is_set():
            due = time.monotonic() + self.plans / self.per_second
            message_id = str(uuid.uuid4())
            body = {
                "header": {"messageId": message_id, "type": "AnalysisComplete"},
                "payload": payload | {"planId": plan, "analysisId": message_id},
            }
            tries, turn = await self._until_accepted(session, body, turn)
            self.accepted.append(Accepted(message_id, plan, tries, time.monotonic()))
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _until_accepted(self, session: aiohttp.ClientSession, body: dict[str, Any], turn: int) -> tuple[int, int]:
        for tries in range(1, 10_000):
            turn += 1
            try:
                async with session.post(f"{self.urls[turn % len(self.urls)]}/v1/messages", json=body) as answer:
                    if answer.status == 202:
                        return tries, turn
                    assert answer.status == 503, await answer.text()
                    self.refusals["503"] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                self.refusals[type(error).__name__] += 1
            await asyncio.sleep(_ASK_AGAIN)
        raise AssertionError("nobody accepted it")


@dataclass(frozen=True)
class Judged:
    """By the plan manager's own record. ``unmarked``: came again without Linkspan's mark ``Linkspan-Redelivery``."""

    accepted: int
    lost: list[str]
    stored: int
    repeats: int
    unmarked: list[dict[str, Any]]
    refused: list[dict[str, Any]]
    out_of_order: list[str]

    def fine(self) -> bool:
        return not (self.lost or self.unmarked or self.refused or self.out_of_order) and self.stored == self.accepted


def figures(load: Load, found: Judged) -> str:
    again = sum(one.tries > 1 for one in load.accepted)
    return (
        f"{found.accepted} accepted, {len(found.lost)} lost, {found.stored} stored, {found.repeats} repeats "
        f"({len(found.unmarked)} of them unmarked), {len(found.refused)} refused, "
        f"{len(found.out_of_order)} plans out of order; longest pause {load.longest_pause:.1f} s; "
        f"{again} sent again ({dict(load.refusals)})"
    )


async def judged(load: Load, manager: PlanManager, within: float = 120) -> Judged:
    """Once all that was accepted has arrived, or that time has passed."""
    wanted = {one.id for one in load.accepted}
    deadline = time.monotonic() + within
    while True:
        came = [one for one in await manager.received() if one["idempotencyKey"] in wanted]
        lost = wanted - {one["idempotencyKey"] for one in came if one["result"] == "stored"}
        if not lost or time.monotonic() > deadline:
            break
        await asyncio.sleep(1)
    stored = [one["idempotencyKey"] for one in came if one["result"] == "stored"]
    seen: set[str] = set()
    unmarked = []
    for one in came:
        if one["idempotencyKey"] in seen and not one["redelivery"]:
            unmarked.append(one)
        seen.add(one["idempotencyKey"])
    return Judged(
        len(wanted),
        sorted(lost),
        len(stored),
        sum(one["result"] == "repeat" for one in came),
        unmarked,
        [one for one in came if one["result"] == "refused"],
        _out_of_order(load, stored),
    )


def _out_of_order(load: Load, stored: list[str]) -> list[str]:
    """Plans whose analyses did not come as they were accepted."""
    plan_of = {one.id: one.plan for one in load.accepted}
    sent: dict[str, list[str]] = {}
    for one in load.accepted:
        sent.setdefault(one.plan, []).append(one.id)
    came: dict[str, list[str]] = {}
    for message_id in stored:
        came.setdefault(plan_of[message_id], []).append(message_id)
    there = {plan: [one for one in ids if one in set(came.get(plan, ()))] for plan, ids in sent.items()}
    return [plan for plan, ids in there.items() if ids != came.get(plan, [])]
