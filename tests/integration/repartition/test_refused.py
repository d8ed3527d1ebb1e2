"""What ``linkspan repartition`` refuses, and what refuses to run while a copy is not whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.integration.cli.operator import Done
from tests.integration.egress.bridge import FLOW, Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until
from tests.integration.egress.test_egress_redrive import refusing, taken
from tests.integration.repartition.grown import GROWN, asked, at, copied, grown, killed_after, repartition

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

KEYS = [order_id(number) for number in range(1, 9)]
WRITE = ("--write", "--yes", "--reason", "more of them")
#: Of each key; with so many the command is killed in the middle of its work, and not after it.
MANY = 250


async def in_the_way(wide: Bridge, ask: Callable[..., Awaitable[Done]] = repartition) -> list[str]:
    done = await ask(wide, *WRITE)
    assert done.code == 1, done
    found: dict[str, Any] = json.loads(done.out)
    assert not found["copied"]
    made = await at(wide)("topics", str(wide.path), "--check")
    assert f"{wide.topics.events}: is missing" in made.out, "nothing was made"
    return list(found["obstacles"])


async def backlog(made: Bridge, lines: int = 3) -> None:
    await made.append(*((key, line) for line in range(lines) for key in KEYS))


async def test_held_keys_and_dead_letters_are_to_be_decided_first(bridge: MakeBridge, rest: RestDestination) -> None:
    old = await bridge(rest_system(rest), partitions=2)
    refusing(rest, (KEYS[0], 1))
    async with old.serving():
        await backlog(old)
        await old.wait_outcomes(len(KEYS) * 3)
        await asyncio.sleep(2.5)  # a checkpoint
        running = await in_the_way(grown(old, 4), asked)
        assert any(line.endswith("1 members: stop egress") for line in running), running
    (held,) = await in_the_way(grown(old, 4))
    assert "2 messages are dead letters or wait behind one: redrive or discard them" in held


async def test_until_the_copy_is_whole_nobody_makes_its_topics_or_delivers_from_them_or_takes_messages_in(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    old = await bridge(rest_system(rest), partitions=2)
    refusing(rest)
    await backlog(old, MANY)
    wide = grown(old, 4)
    made = await at(wide)("topics", str(wide.path))
    assert (made.code, f"{wide.topics.events}: is missing, linkspan repartition makes and fills it" in made.out) == (
        1,
        True,
    )
    assert await killed_after(wide, 1) == -9
    awaited = f"does not have all of {FLOW} yet: linkspan repartition {GROWN} FILE"
    made = await at(wide)("topics", str(wide.path))
    assert (made.code, f"{GROWN}: {awaited}" in made.out) == (1, True), made
    fits = await at(wide)("compatible", str(wide.path))
    assert (fits.code, f"flows.{GROWN}.copied_from: {awaited}" in fits.out) == (1, True), fits
    async with wide.serving():
        await asyncio.sleep(3)
        assert not taken(rest)
    await copied(wide)
    assert (await at(wide)("topics", str(wide.path))).code == 0
    assert (await at(wide)("compatible", str(wide.path))).code == 0
    async with wide.serving():
        await until(lambda: len(taken(rest)) == len(KEYS) * MANY, 60)


async def test_the_former_flow_delivers_nothing_after_it_unless_it_is_taken_back(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    old = await bridge(rest_system(rest), partitions=2)
    refusing(rest)
    await backlog(old)
    wide = grown(old, 4)
    await copied(wide)
    async with old.serving():
        await asyncio.sleep(3)
        assert not taken(rest), "it would be delivered twice"
    done = await repartition(wide, "--back", "--yes", "--reason", "not today")
    assert done.code == 0, done
    async with wide.serving():
        await asyncio.sleep(3)
        assert not taken(rest)
    async with old.serving():
        await until(lambda: len(taken(rest)) == len(KEYS) * 3, 60)
        await old.wait_outcomes(len(KEYS) * 3)
    await copied(wide)
    async with wide.serving() as service:
        await until(lambda: len(service.member.partitions) == 4)
        await asyncio.sleep(3)
    assert len(taken(rest)) == len(KEYS) * 3
    done = await repartition(wide, "--back", "--yes", "--reason", "too late")
    assert (done.code, "egress has delivered from it" in done.err) == (2, True), done


async def test_what_was_accepted_into_a_copy_that_is_not_whole_is_not_mixed_with_it(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    old = await bridge(rest_system(rest), partitions=2)
    await backlog(old, MANY)
    wide = grown(old, 4)
    assert await killed_after(wide, 1) == -9
    await wide.append((KEYS[0], 99))
    done = await repartition(wide, *WRITE)
    assert (done.code, "that linkspan repartition did not put there" in done.err) == (2, True), done


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--write",), "--reason: say why, it is kept in the audit trail"),
        (("--write", "--reason", "more"), "nobody can be asked here, nothing was done"),
        (("--back", "--reason", "less", "--yes"), f"{GROWN} is no whole copy"),
        (("--write", "--back", "--reason", "both"), "--write, --back: give one of them"),
    ],
)
async def test_a_mistake_is_said_in_a_line(
    bridge: MakeBridge, rest: RestDestination, arguments: tuple[str, ...], said: str
) -> None:
    wide = grown(await bridge(rest_system(rest), partitions=2), 4)
    done = await repartition(wide, *arguments)
    assert (done.code, said in done.err) == (2, True), done
    assert done.err.strip().splitlines()[-1].startswith("linkspan: "), done.err


async def test_the_file_is_to_say_what_is_copied(bridge: MakeBridge, rest: RestDestination) -> None:
    old = await bridge(rest_system(rest), partitions=2)
    done = await repartition(old, *WRITE)
    assert (done.code, f"flows.{FLOW}.copied_from: say which flow it takes the place of" in done.err) == (2, True), done
    done = await repartition(grown(old, 4, source="nothing"), *WRITE)
    assert (done.code, "Kafka has no topic" in done.err) == (2, True), done
    done = await at(old)("repartition", "unknown", str(old.path))
    assert (done.code, "unknown: there is no such flow in" in done.err) == (2, True), done


async def test_topics_says_which_command_changes_the_number_of_partitions(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    old = await bridge(rest_system(rest), partitions=2)
    old.path.write_text(old.path.read_text().replace("partitions: 2", "partitions: 4"))
    done = await at(old)("topics", str(old.path), "--check")
    assert "linkspan repartition copies a flow into topics with another number" in done.out
