"""A member's part in sharing out its flow's partitions: what it says of itself, and the assignment where it leads.

It is the range assignment by name, so that members of versions without rollouts fit into one group with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

from linkspan import __version__
from linkspan.control.fold import ControlState
from linkspan.egress.own.split import Assignments, Members, MemberSays, said_bytes, split


class VersionedAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """Of one member. ``knows`` is what it would say now, ``told`` what it said when it joined last."""

    name = RangePartitionAssignor.name

    def __init__(self, flow: str, topic: str) -> None:
        self._flow, self._topic = flow, topic
        self.knows = self.told = MemberSays(__version__)

    def look(self, state: ControlState) -> None:
        """What is in force."""
        rollout, serial = state.rollouts.current, state.rollouts.serial
        if rollout is None or not rollout.plan.covers(self._flow):
            self.knows = MemberSays(__version__, serial)
        else:
            self.knows = MemberSays(__version__, serial, rollout.plan.to, rollout.plan.before, rollout.share)

    @property
    def stale(self) -> bool:
        """The group was told something else about the rollout."""
        known, told = self.knows, self.told
        return (known.to, known.before, known.share) != (told.to, told.before, told.share)

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        self.told = self.knows
        return ConsumerProtocolMemberMetadata(RangePartitionAssignor.version, list(topics), said_bytes(self.told))

    def assign(self, cluster: Any, members: Members) -> Assignments:
        partitions = cluster.partitions_for_topic(self._topic) or ()
        found = split(self._topic, sorted(partitions), members)
        return RangePartitionAssignor.assign(cluster, members) if found is None else found

    def on_assignment(self, assignment: Any) -> None:
        """Nothing depends on it."""
