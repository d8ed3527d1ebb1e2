"""Three brokers, of which one is killed while messages flow."""

from __future__ import annotations

import asyncio

import pytest

from tests.compose.conftest import started
from tests.compose.load import Load, figures, judged
from tests.compose.stack import INTEGRATION, THREE_BROKERS

pytestmark = [pytest.mark.compose, pytest.mark.timeout(400)]
BROKERS = ("kafka-1", "kafka-2", "kafka-3")
#: What the way of an analysis needs.
NEEDED = ("ingress-1", "ingress-2", "egress-1", "egress-2", "plan-manager")


async def test_a_broker_that_is_killed_under_load_loses_nothing_and_comes_back(image: str) -> None:
    with started(image, *BROKERS, *NEEDED, env_file=THREE_BROKERS) as stack:
        load = Load((stack.url("ingress-1"), stack.url("ingress-2")))
        async with stack.plan_manager() as manager:
            async with load.flowing():
                await asyncio.sleep(5)
                await asyncio.to_thread(stack.compose, "kill", "kafka-1")
                before = len(load.accepted)
                await asyncio.sleep(25)
                without = len(load.accepted) - before
                assert stack.containers()["kafka-1"]["State"]["Status"] == "exited"
                await asyncio.to_thread(stack.timed, "kafka-1 back", "up", "--detach", "--no-deps", "--wait", "kafka-1")
                await asyncio.sleep(5)
            found = await judged(load, manager)
        print(f"\nbroker killed: {without} accepted without it; {figures(load, found)}")
        assert found.fine(), found
        assert without > 50
        assert "balanced" in await asyncio.to_thread(stack.audit)
        topics = ("run", "--rm", "--no-deps", "-T", "cli", "topics", INTEGRATION, "--check", "--replication", "3")
        assert stack.compose(*topics).strip() == "all topics are as they should be"
