"""``linkspan replay …`` as an operator uses it, with owners that send."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys

import pytest
from tests.integration.cli.operator import Operator
from tests.integration.egress.bridge import Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]
QUICK = {"LINKSPAN_SESSION_SECONDS": "6"}
WHY = ("--reason", "they lost them")
ORDERS = [(order_id(number), number) for number in range(20)]


async def planned(linkspan: Operator) -> str:
    found = (await linkspan("replay", "plan", "orders", "--reason", "they lost it", "-o", "json")).json
    name: str = found["plan"]
    return name


async def delivered(made: Bridge, rest: RestDestination) -> None:
    await made.append(*ORDERS)
    await until(lambda: len(rest.got) == len(ORDERS), 60)
    await made.wait_outcomes(len(ORDERS), 60, ("delivered",))
    rest.got.clear()


def again(rest: RestDestination) -> list[tuple[str, int]]:
    return sorted(got.order for got in rest.got)


async def test_a_plan_is_run_with_a_canary_confirmed_watched_and_proven(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), partitions=3)
    async with made.egress(**QUICK) as one, made.egress(**QUICK) as two:
        await delivered(made, rest)
        linkspan = Operator(made, f"{one.control},{two.control}")
        plan = await planned(linkspan)

        nothing = await linkspan("replay", "run", plan, *WHY, "--yes")
        assert (nothing.code, nothing.out) == (1, "")
        assert "nothing of" in nothing.err
        assert "20 already-delivered" in nothing.err
        unsure = await linkspan.answering("n\n", "replay", "run", plan, *WHY, "--force", "--canary", "4")
        assert (unsure.code, unsure.out) == (130, "")
        question = "send 20 of 20 events of orders again; 4 of them first, also what was delivered"
        assert question in " ".join(unsure.err.split())
        alone = await linkspan("replay", "run", plan, *WHY, "--force")
        assert (alone.code, "nobody can be asked here" in alone.err) == (2, True)
        dry = (await linkspan("replay", "run", plan, "--dry-run", "--force", "-o", "json")).json
        assert (dry["replay"]["dispositions"], dry["replay"]["dry_run"]) == ({"delivered": "20"}, True)
        assert again(rest) == []

        how = ("--force", "--canary", "4", "--rate", "50", "--yes")
        running = await linkspan.started(sys.executable, "-m", "linkspan", "replay", "run", plan, *WHY, *how)
        await linkspan.told("replay", "show", plan, until="the canary is out")
        assert len(again(rest)) == 4
        shown = (await linkspan("replay", "show", plan, "-o", "json")).json
        assert shown["replay"]["phase"] == "REPLAY_PHASE_CANARY"
        await one.kill()  # the one that answers: the others go on, and so does who watches
        confirmed = await linkspan("replay", "confirm", plan, "--reason", "they look good")
        assert (confirmed.code, confirmed.out) == (0, f"replay {plan}: confirmed: sends the rest\n")
        out, err = await asyncio.wait_for(running.communicate(), 120)
        assert (running.returncode, "trying again; the replay goes on" in err.decode()) == (0, True), err.decode()
        last = out.decode()
        assert re.search(r"delivered +20\n", last), last
        assert "20 of 20 planned" in last
        assert again(rest) == ORDERS

        proof = await linkspan("replay", "show", plan, "--prove")
        assert proof.code == 0
        assert "proven: 20 of 20 planned events have exactly one disposition in the log" in proof.out
        assert (await linkspan("replay", "watch", plan)).code == 0
        twice = await linkspan("replay", "run", plan, *WHY, *how)
        assert (twice.code, "was started already by local" in twice.err) == (1, True)
        listed = (await linkspan("replay", "list", "-o", "json")).json
        assert [one["phase"] for one in listed["replays"]] == ["REPLAY_PHASE_COMPLETED"]
        trail = (await linkspan("audit-trail")).out
        for words in ("plan frozen replay", "replay start", "replay confirm", "replay part done"):
            assert f"{words} {plan}" in trail, trail
        audit = (await linkspan("audit", "-o", "json")).json
        assert {name: audit["accounts"][0][name] for name in ("accepted", "delivered", "repeats")} == {
            "accepted": 20,
            "delivered": 20,
            "repeats": 0,
        }, "a replay changes no message's own status"


@pytest.mark.thorough
async def test_ctrl_c_leaves_a_replay_running_and_a_cancel_ends_it_with_a_code_of_its_own(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), partitions=2)
    async with made.egress(**QUICK) as process:
        await delivered(made, rest)
        linkspan = Operator(made, process.control)
        plan = await planned(linkspan)
        how = ("--force", "--rate", "1", "--yes", "-o", "json")
        running = await linkspan.started(sys.executable, "-m", "linkspan", "replay", "run", plan, *WHY, *how)
        assert running.stdout
        assert running.stderr
        for _ in range(3):
            line = await asyncio.wait_for(running.stdout.readline(), 60)
            assert line, (await running.stderr.read(), process.log[-20:])
            assert json.loads(line)["plan"] == plan
        running.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(running.communicate(), 60)
        assert running.returncode == 130
        assert f"the replay goes on: linkspan replay watch {plan} follows it" in err.decode()
        paused = await linkspan("replay", "pause", plan, "--reason", "lunch")
        assert paused.out == f"replay {plan}: paused\n"
        assert "is paused" in (await linkspan("replay", "show", plan)).out
        assert (await linkspan("replay", "rate", plan, "2", "--reason", "slowly")).out.endswith("at most 2 a second\n")
        assert (await linkspan("replay", "resume", plan, "--reason", "back")).out.endswith(": resumed\n")
        assert (await linkspan("replay", "cancel", plan, "--reason", "enough")).code == 0
        watched = await linkspan("replay", "watch", plan)
        assert watched.code == 5
        assert "enough" in watched.out
        found = await linkspan("replay", "show", plan, "--prove", "-o", "json")
        proof = found.json["replay"]["proof"]
        assert (proof["proven"], proof["once"]) == (True, 20)
        assert int(proof["dispositions"]["delivered"]) == len(again(rest))
        assert set(proof["dispositions"]) == {"delivered", "cancelled"}


@pytest.mark.thorough
async def test_a_replay_that_fails_ends_by_itself_and_a_script_is_told(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), partitions=2)
    async with made.egress(**QUICK) as process:
        await delivered(made, rest)
        rest.reply = lambda _got: 422
        linkspan = Operator(made, process.control)
        plan = await planned(linkspan)
        how = ("--force", "--canary", "4", "--max-failures", "0.2", "--yes")
        done = await linkspan("replay", "run", plan, *WHY, *how)
        assert done.code == 5, done
        assert "aborted" in done.out
        assert "stopped by" in done.out
        assert not [one for one in await made.outcomes() if one["kind"] == "dead_lettered"]
        assert (await linkspan("replay", "show", plan, "--prove")).code == 0
