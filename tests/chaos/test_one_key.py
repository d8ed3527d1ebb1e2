"""One key's message cannot be delivered: refused for good, undecodable, or one that the destination never answers. Its
own key waits for a decision, the others go on in order; also where the owner is killed meanwhile, twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from tests.chaos.fleet import settled_audit
from tests.chaos.harness import KEYS, Load, judged, until_quiet
from tests.integration.egress.bridge import FLOW, Bridge, EgressProcess, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import Got, Reply, RestDestination

from linkspan.kernel.topics import partition_of

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(400)]

SESSION = {"LINKSPAN_SESSION_SECONDS": "4"}
BAD, LINE = order_id(7), 6
OTHERS = {order_id(number) for number in range(KEYS)} - {BAD}
PARTITIONS = 2
#: What the destination answers to the bad one, and what is decided of it. What cannot be decoded never gets there.
TROUBLES: dict[str, tuple[Reply, str]] = {
    "refused": (422, "redrive"),
    "given up": (422, "discard"),
    "undecodable": (201, "discard"),
    "no answer": ("silence", "redrive"),
}


@dataclass
class Site:
    """``taken``: what the destination keeps, in order; what it refuses or never answers is not of it."""

    made: Bridge
    rest: RestDestination
    answer: Reply
    owners: list[EgressProcess]
    load: Load = field(init=False)
    taken: list[Got] = field(default_factory=list)
    asked: int = 0

    def __post_init__(self) -> None:
        self.load = Load(self.made, 40.0)
        self.rest.reply = self.reply

    def reply(self, got: Got) -> Reply:
        if got.order == (BAD, LINE):
            self.asked += 1
            if self.answer != 201:
                return self.answer
        self.taken.append(got)
        return 201

    def lines(self, key: str) -> list[int]:
        return list(dict.fromkeys(got.order[1] for got in self.taken if got.order[0] == key))

    async def kill_owner(self) -> None:
        """Of the bad key's partition; another process starts in its place."""
        partition = partition_of(BAD.encode(), PARTITIONS)

        def since(owner: EgressProcess) -> str:
            own = [line for line in owner.lines("partition taken over") if line["partition"] == partition]
            return str(own[-1]["timestamp"]) if own else ""

        victim = max(self.owners, key=since)
        await victim.kill()
        self.owners.remove(victim)
        self.owners.append(EgressProcess(self.made, (), SESSION))
        await self.owners[-1].start()

    async def others_go_on(self, more: int) -> None:
        """Each of them by so many messages from now on."""
        before = Counter(got.order[0] for got in self.taken)
        assert await until_quiet(lambda: all(len(self.lines(key)) >= before[key] + more for key in OTHERS), 90)

    async def followers_wait(self, count: int) -> None:
        async def held() -> int:
            found = await self.made.outcomes()
            return sum(one["kind"] == "held" and one["key"] == BAD for one in found)

        async with asyncio.timeout(120):
            while await held() < count:  # noqa: ASYNC110 - another process's doing
                await asyncio.sleep(0.3)


@asynccontextmanager
async def site(bridge: MakeBridge, rest: RestDestination, answer: Reply) -> AsyncIterator[Site]:
    """Under load, with two owners."""
    made = await bridge(rest_system(rest, timeout="2s"), partitions=PARTITIONS)
    found = Site(made, rest, answer, [EgressProcess(made, (), SESSION) for _ in range(2)])
    loading = asyncio.create_task(found.load.run())
    try:
        for owner in found.owners:
            await owner.start()
        yield found
    finally:
        loading.cancel()
        for owner in found.owners:
            await owner.kill()


@pytest.mark.parametrize("kills", [False, True], ids=["owner stays", "owner killed"])
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_what_one_key_cannot_deliver_stops_that_key_alone_until_it_is_decided(
    bridge: MakeBridge, rest: RestDestination, trouble: str, kills: bool
) -> None:
    answer, decision = TROUBLES[trouble]
    async with site(bridge, rest, answer) as here:
        last = await in_trouble(here, trouble)
        if kills:
            await here.kill_owner()
        await here.others_go_on(3)
        await here.followers_wait(5)
        if kills:
            await here.kill_owner()
            await here.others_go_on(3)
        assert here.lines(BAD) == list(range(last)), "its own key waits"
        here.answer = 201
        await here.made.command(decision, *await here.made.letter(BAD))
        assert await until_quiet(lambda: len(here.lines(BAD)) > last + 5, 90)
        here.load.stop()
        skipped = {(BAD, LINE)} if trouble == "given up" else set()
        wanted = set(here.load.sent) - skipped
        assert await until_quiet(lambda: wanted <= {got.order for got in here.taken}, 120)
        await in_the_end(here, skipped, undecodable=trouble == "undecodable")


async def in_trouble(here: Site, trouble: str) -> int:
    """Until the bad one is there; how many of its key come before it."""
    if trouble != "undecodable":
        assert await until_quiet(lambda: here.asked > 0, 60)
        return LINE
    assert await until_quiet(lambda: len(here.lines(BAD)) >= LINE, 60)
    await here.made.append_raw(b"\x00not Avro", BAD)
    await here.followers_wait(1)
    return len(here.lines(BAD))


async def in_the_end(here: Site, skipped: set[tuple[str, int]], *, undecodable: bool) -> None:
    found = judged([one for one in here.load.sent if one not in skipped], here.taken, [])
    print("\n" + found.line("one key in trouble", 1))
    assert (found.lost, found.unmarked, found.behind) == (0, 0, 0)
    for key in {BAD, *OTHERS}:
        expected = [line for of, line in here.load.sent if of == key and (of, line) not in skipped]
        assert here.lines(key) == expected
    said = await settled_audit(here.made.path, here.made.bootstrap)
    counts = said["flows"][FLOW]
    lost = len(skipped) + undecodable
    assert (said["code"], counts["held"], counts["dead_lettered"], counts["discarded"]) == (0, 0, 0, lost)
    assert counts["delivered"] == len(here.load.sent) - len(skipped)
    blamed = {one["key"] for one in await here.made.outcomes() if one["kind"] in {"dead_lettered", "held"}}
    assert blamed == {BAD}
