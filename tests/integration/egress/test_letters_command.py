"""``linkspan dead-letters``, ``redrive`` and ``discard`` as an operator uses them."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest
from tests.integration.egress.bridge import Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until
from tests.integration.egress.test_audit import Done, audit
from tests.integration.egress.test_egress_redrive import arrived, refusing

pytestmark = pytest.mark.kafka
BAD, WORSE = order_id(1), order_id(2)


async def linkspan(made: Bridge, command: str, *arguments: str, said: str = "", bootstrap: str | None = None) -> Done:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "linkspan", command, str(made.path), *arguments),
        env=os.environ | {"MESSAGE_QUEUE_URL": f"kafka://{bootstrap or made.bootstrap}"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(said.encode())
    return Done(process.returncode or 0, out.decode(), err.decode())


async def test_what_is_dead_is_shown_with_its_reason_and_released_by_name_or_all_at_once(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    bad = refusing(rest, (BAD, 0), (WORSE, 0))
    made = await bridge(rest_system(rest))
    assert (await linkspan(made, "dead-letters")).out == "no dead letters\n"
    await made.append(*((BAD, line) for line in range(3)), (WORSE, 0))
    async with made.serving():
        await made.wait_outcomes(4)
        shown = await linkspan(made, "dead-letters")
        assert shown.code == 0
        assert f"key {BAD} rejected, 0 attempts, 2 waiting" in shown.out
        found = json.loads((await linkspan(made, "dead-letters", "--flow", "orders", "--output", "json")).out)
        assert {(one["key"], one["waiting"]) for one in found} == {(BAD, 2), (WORSE, 0)}
        assert (await audit(made)).orders == {"accepted": 4, "held": 2, "dead_lettered": 2}
        bad.clear()
        mine = next(f"{one['partition']}:{one['offset']}" for one in found if one["key"] == BAD)
        why = ("--flow", "orders", "--reason", "mended")
        unsure = await linkspan(made, "redrive", mine, *why, said="n\n")
        assert unsure.code == 130
        assert "redrive 1 dead letters of orders; 2 messages wait behind them" in unsure.out
        assert arrived(rest) == []
        assert (await linkspan(made, "redrive", mine, *why, "--yes")).code == 0
        await until(lambda: arrived(rest) == [0, 1, 2])
        assert (await linkspan(made, "discard", "--all", *why, "--yes")).code == 0
        await made.wait_outcomes(2, kinds=("opened",))
        assert arrived(rest, WORSE) == []
        await asyncio.sleep(2.5)  # a checkpoint
        assert (await linkspan(made, "dead-letters")).out == "no dead letters\n"
        done = await audit(made)
    assert done.code == 0
    assert done.orders == {"accepted": 4, "delivered": 3, "discarded": 1}


async def test_a_mistake_is_one_line_and_nothing_is_commanded(bridge: MakeBridge, rest: RestDestination) -> None:
    refusing(rest, (BAD, 0))
    made = await bridge(rest_system(rest))
    await made.append((BAD, 0))
    async with made.serving():
        await made.wait_outcomes(1)
        for arguments, expected in (
            (("0:0", "--flow", "nothing", "--reason", "x"), "--flow nothing: there is no such flow; there are orders"),
            (("zero", "--flow", "orders", "--reason", "x"), "zero: expected PARTITION:OFFSET, such as 3:1042"),
            (("0:99", "--flow", "orders", "--reason", "x"), "0:99: orders has no such dead letter"),
            (("--flow", "orders", "--reason", "x"), "name dead letters as PARTITION:OFFSET, or all of them with --all"),
            (("--all", "--flow", "orders", "--reason", " "), "--reason: say why"),
        ):
            done = await linkspan(made, "redrive", *arguments)
            assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
            assert expected in done.err
        away = await linkspan(made, "redrive", "--all", "--flow", "orders", "--reason", "x", bootstrap="127.0.0.1:9")
        assert away.code == 2
        assert "Kafka does not answer" in away.err
        await asyncio.sleep(0.5)
        assert [one["kind"] for one in await made.outcomes()] == ["dead_lettered"]
