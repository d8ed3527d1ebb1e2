"""The partition's logic under random interleavings, with crashes at any step."""

import os

import pytest
from hypothesis import settings
from tests.property.partition_promises import HoldingPartition, Partition, PartitionWithIds

pytestmark = pytest.mark.timeout(1200)

#: Steps of all machines together; CI asks for 100,000.
STEPS = int(os.environ.get("LINKSPAN_STEPS", "15000"))
MACHINES = (Partition, HoldingPartition, PartitionWithIds)
for machine in MACHINES:
    machine.TestCase.settings = settings(
        max_examples=max(1, STEPS // len(MACHINES) // 40), stateful_step_count=60, deadline=None
    )
TestPartition = Partition.TestCase
TestHoldingPartition = HoldingPartition.TestCase
TestPartitionWithIds = PartitionWithIds.TestCase


def test_that_many_steps_were_taken() -> None:
    assert all(machine.steps for machine in MACHINES), "runs after the machines"
    assert sum(machine.steps for machine in MACHINES) >= STEPS
