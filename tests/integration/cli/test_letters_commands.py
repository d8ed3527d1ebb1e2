"""``linkspan dead-letters``, ``dead-letter``, ``redrive`` and ``discard`` as an operator uses them."""

from __future__ import annotations

import pytest
from tests.integration.cli.operator import Operator
from tests.integration.egress.bridge import order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until
from tests.integration.egress.test_egress_redrive import arrived, refusing

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
BAD, WORSE = order_id(1), order_id(2)
WHY = ("--reason", "mended")


async def test_what_is_dead_is_shown_with_its_reason_and_released_by_name_or_all_at_once(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    bad = refusing(rest, (BAD, 0), (WORSE, 0))
    made = await bridge(rest_system(rest))
    async with made.egress() as process:
        linkspan = Operator(made, process.control)
        assert (await linkspan("dead-letters")).out == "no dead letters\n"
        await made.append(*((BAD, line) for line in range(3)), (WORSE, 0))
        await made.wait_outcomes(4)
        found = (await linkspan("dead-letters", "--flow", "orders", "--each", "-o", "json")).json
        assert {(one["key"], one["waiting"]) for one in found["letters"]} == {(BAD, 2), (WORSE, 0)}
        assert [(one["failure"], one["letters"], one["waiting"]) for one in found["groups"]] == [("rejected", 2, 2)]
        group = (await linkspan("dead-letters")).out
        assert found["groups"][0]["fingerprint"] in group
        mine = next(one["name"] for one in found["letters"] if one["key"] == BAD)
        whole = (await linkspan("dead-letter", "orders", mine)).out
        assert all(part in whole for part in ("why", "rejected: ", "would be sent today", f'"orderId": "{BAD}"'))

        bad.clear()
        unsure = await linkspan.answering("n\n", "redrive", mine, "--flow", "orders", *WHY)
        assert (unsure.code, unsure.out) == (130, "")
        assert "redrive 1 dead letter of orders, with 2 messages waiting behind" in unsure.err
        alone = await linkspan("redrive", mine, "--flow", "orders", *WHY)
        assert (alone.code, alone.out) == (2, "")
        assert "nobody can be asked here, nothing was done: --yes goes on without asking" in alone.err
        assert arrived(rest) == []
        sure = await linkspan.answering("y\n", "redrive", mine, "--flow", "orders", *WHY)
        assert (sure.code, sure.out) == (0, "took 1 command to redrive; linkspan message shows what came of each\n")
        await until(lambda: arrived(rest) == [0, 1, 2])

        left = "1 dead letter of all flows, with 0 messages waiting behind\n"
        assert (await linkspan.told("discard", "--all", "--dry-run", until=left)).code == 0
        assert (await linkspan("discard", "--key", WORSE, *WHY, "--yes")).code == 0
        await made.wait_outcomes(2, kinds=("opened",))
        assert arrived(rest, WORSE) == []
        await linkspan.told("dead-letters", until="no dead letters")
        nothing = await linkspan("redrive", "--all", *WHY, "--yes")
        assert (nothing.code, nothing.out) == (1, "")
        assert nothing.err == "linkspan: no dead letter fits, nothing to redrive; linkspan dead-letters shows them\n"
        found = (await linkspan("audit", "-o", "json")).json
        terms = {name: count for name, count in found["accounts"][0].items() if count and isinstance(count, int)}
        del terms["records"]
        assert terms == {"accepted": 4, "delivered": 3, "discarded": 1}


async def test_a_mistake_is_one_line_and_nothing_is_commanded(bridge: MakeBridge, rest: RestDestination) -> None:
    refusing(rest, (BAD, 0))
    made = await bridge(rest_system(rest))
    await made.append((BAD, 0))
    async with made.egress() as process:
        linkspan = Operator(made, process.control)
        await made.wait_outcomes(1)
        for code, arguments, expected in (
            (2, ("0:0", "--flow", "nothing", *WHY), "there is no flow nothing; there are orders"),
            (2, ("zero", "--flow", "orders", *WHY), "PARTITION:OFFSET: 'zero' is no dead letter's name"),
            (1, ("0:99", "--flow", "orders", *WHY), "orders has no such dead letter now: 0:99"),
            (2, ("--reason", " "), "say which: names as PARTITION:OFFSET"),
            (2, ("--all", "--flow", "orders", "--reason", " "), "--reason: say why"),
        ):
            done = await linkspan("redrive", *arguments, "--yes")
            assert (done.code, done.out, done.err.splitlines()[-1:]) == (code, "", [done.err.splitlines()[-1]])
            assert done.err.splitlines()[-1].startswith("linkspan: ")
            assert expected in done.err
        unnamed = await linkspan("dead-letter", "orders", "zero")
        assert (unnamed.code, unnamed.out) == (2, "")
        assert unnamed.err.startswith("linkspan: PARTITION:OFFSET: 'zero' is no dead letter's name")
        assert [one["kind"] for one in await made.outcomes()] == ["dead_lettered"]
        assert (await linkspan("audit-trail", "--kind", "redrive")).out == "no commands fit\n"
