"""What belongs to an assignment ends with it."""

from __future__ import annotations

import pytest
from tests.integration.egress.bridge import order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until

from linkspan.egress.own.store import StateStore
from linkspan.kernel.kafka.clients import KafkaClients

pytestmark = pytest.mark.kafka


async def test_an_owner_that_is_fenced_when_its_assignment_ends_does_not_try_to_take_over_for_ever(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    """Its cancellation is lost to the failure, which comes at the same moment."""
    made = await bridge(rest_system(rest), partitions=1)
    successor = StateStore(KafkaClients(made.bootstrap), f"{made.integration.integration}.orders.0")
    async with made.serving() as service:
        await until(lambda: any(owner.checkpointed for owner in service.member.owners()))
        (task,), membership = service.member._tasks.values(), service.member._membership
        await successor.start()
        rest.hold = 3.0  # nothing is written, so nothing fails, before the answer
        await made.append((order_id(1), 0))
        await until(lambda: bool(rest.got))
        assert membership
        membership.ended = True
        await until(task.done)
        assert task.exception() is None
        successor.discard()
