"""The operator's commands against a real egress, ledger and Kafka."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest
from tests.integration.cli.operator import PATIENCE, Operator, ledger
from tests.integration.control.client import TOKENS, write_tokens
from tests.integration.egress.bridge import Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
AWAY = "127.0.0.1:9"
SCRIPT = Path(__file__).parents[3] / "scripts" / "flush-queue.sh"


async def test_a_pause_is_seen_in_the_status_and_its_author_and_reason_in_the_trail(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest))
    async with made.egress() as process:
        linkspan = Operator(made, f"{AWAY},{process.control}")
        paused = await linkspan("pause", "orders", "--reason", "maintenance of the store")
        assert (paused.code, paused.out) == (0, "flow orders: paused\n")
        status = (await linkspan.told("status", "-o", "json", until='"service": "egress"')).json
        flow = status["flows"][0]
        assert (flow["flow"], flow["paused"], flow["paused_reason"]) == ("orders", True, "maintenance of the store")
        assert "  orders: paused by local: maintenance of the store" in (await linkspan("status")).out
        assert (await linkspan("pause", "--destination", "store", "--reason", "both")).code == 0
        status = (await linkspan("status")).out
        assert "  orders: destination store is paused by local: both" in status
        resumed = (await linkspan("resume", "orders", "--reason", "mended", "-o", "json")).json
        assert (resumed["result"], resumed["effective"]) == ("resumed", True)
        trail = (await linkspan("audit-trail", "--by", "local", "-o", "json")).json["commands"]
        said = [(one["kind"], one["by"], one["role"], one["reason"]) for one in trail]
        assert said[0] == ("resume", "local", "admin", "mended")
        assert said[2] == ("pause", "local", "admin", "maintenance of the store")
        only = (await linkspan("audit-trail", "--kind", "resume", "--limit", "1")).out.splitlines()
        assert len(only) == 2
        assert "mended" in only[1]
        assert (
            await linkspan("log-level", "debug", "--reason", "to see")
        ).out == "log level debug: set in all replicas\n"
        share = await linkspan("profiling", "enable", "--sample-rate", "0.05", "--reason", "slow")
        assert share.out == "profiling: measures 5 % of the messages\n"
        trail = (await linkspan("audit-trail")).out
        assert all(said in trail for said in ("  log level debug  ", "  profiling  ", "  pause destination store  "))
        assert (await linkspan("status", "-o", "json")).json["log_level"] == "debug"
        none = await linkspan("pause", "parcels", "--reason", "x")
        assert (none.code, none.err) == (2, "linkspan: there is no flow parcels; there are orders\n")


async def test_who_is_not_known_or_not_allowed_is_told_so_with_exit_code_4(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest))
    (made.path.parent / "data" / "control").mkdir(parents=True)
    write_tokens(made.path.parent / "data" / "control" / "tokens.yaml")
    async with made.egress() as process:
        viewer = Operator(made, process.control, TOKENS["viewer"])
        assert (await viewer("status")).code == 0
        refused = await viewer("pause", "orders", "--reason", "x")
        assert (refused.code, refused.out) == (4, "")
        assert refused.err.startswith("linkspan: not allowed: ")
        assert "viewer" in refused.err
        for token, said in ((None, "it asks who you are: set LINKSPAN_TOKEN"), ("wrong", "it does not know the token")):
            stranger = await Operator(made, process.control, token)("status")
            assert (stranger.code, stranger.out) == (4, "")
            assert said in stranger.err
        admin = Operator(made, process.control, TOKENS["admin"])
        assert "refused" in (await admin.told("audit-trail", until="Pause")).out


async def test_a_story_is_found_by_its_correlation_id_and_the_account_balances(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest))
    async with made.egress() as process:
        linkspan = Operator(made, process.control)
        async with ledger(linkspan):
            first, *_ = await made.append(*((order_id(key), 0) for key in range(5)))
            await made.wait_outcomes(5)
            listed = (await linkspan.told("messages", "--status", "delivered", "-o", "json", until=first)).json
            one = next(one for one in listed["messages"] if one["message_id"] == first)
            story = (await linkspan("message", one["correlation_id"], "--content")).out
            assert f"message      {first}" in story
            assert f'"orderId": "{order_id(0)}"' in story
            lines = [line.split() for line in story.splitlines()]
            kinds = [line[2] if len(line) == 3 else line[4] for line in lines if line and line[0].startswith("20")]
            assert kinds == ["accepted", "delivered"]
            event = f"orders/{one['partition']}:{one['offset']}"
            by_event = (await linkspan("message", event, "-o", "json")).json["messages"]
            assert [found["message"]["message_id"] for found in by_event] == [first]
            await linkspan.told("messages", "-o", "json", until='"lag": 0')
            page = (await linkspan("messages", "--limit", "2", "-o", "json")).json
            assert len(page["messages"]) == 2
            rest_of = await linkspan("messages", "--page-token", page["next_page_token"], "-o", "json")
            assert len(rest_of.json["messages"]) == 3
            unknown = await linkspan("message", "0193588a-7c1e-7a3b-9c4d-000000000000")
            assert (unknown.code, unknown.out) == (1, "")
        over_api = (await linkspan("audit", "-o", "json")).json
        from_kafka = (await linkspan("audit", str(made.path), "-o", "json")).json
        assert over_api["balanced"]
        assert from_kafka["balanced"]
        assert over_api["accounts"][0]["delivered"] == from_kafka["flows"]["orders"]["delivered"] == 5


async def test_a_tail_shows_what_happens_and_ends_quietly_with_ctrl_c(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest))
    async with made.egress() as process:
        linkspan = Operator(made, process.control)
        tail = await linkspan.started(sys.executable, "-m", "linkspan", "tail", "--outcomes", "-o", "json")
        assert tail.stdout
        reading = asyncio.create_task(tail.stdout.readline())
        number = 0
        async with asyncio.timeout(PATIENCE):
            while not reading.done():  # it begins somewhere in between
                await made.append((order_id(1), number))
                number += 1
                await asyncio.wait({reading}, timeout=0.5)
        found = json.loads(reading.result())
        assert (found["entry"]["kind"], found["flow"], found["key"]) == ("delivered", "orders", order_id(1))
        tail.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(tail.communicate(), PATIENCE)
        assert (tail.returncode, err.decode()) == (130, "")


async def unfinished(made: Bridge, linkspan: Operator) -> None:
    assert (await linkspan("pause", "orders", "--reason", "to see")).code == 0
    await asyncio.sleep(2)
    await made.append(*((order_id(key), 0) for key in range(3)))


async def test_the_script_that_flushes_only_counts_until_it_is_confirmed(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest))
    async with made.egress() as process:
        linkspan = Operator(made, process.control)
        nothing = await linkspan.run(str(SCRIPT), "--confirm")
        assert (nothing.code, nothing.out) == (0, "unfinished: 0 messages of orders\n")
        await unfinished(made, linkspan)
        counted = await linkspan.run(str(SCRIPT))
        assert (counted.code, counted.out) == (2, "unfinished: 3 messages of orders\n")
        assert "nothing was done; --confirm gives them up for good" in counted.err
        flushed = await linkspan.run(str(SCRIPT), "--flow", "orders", "--reason", "test data", "--confirm")
        assert (flushed.code, flushed.out) == (0, "given up: 3 messages of orders\n")
        assert "give up for good: 3 messages of orders" in flushed.err
        assert (await linkspan("resume", "orders", "--reason", "seen")).code == 0
        await made.wait_outcomes(3, PATIENCE, ("discarded",))
        assert rest.got == []
        mistake = await linkspan.run(str(SCRIPT), "--flow")
        assert mistake.code == 2
        wrong = await linkspan.run(str(SCRIPT), "--flow", "parcels")
        assert (wrong.code, wrong.out) == (2, "")
        assert "there is no flow parcels" in wrong.err
