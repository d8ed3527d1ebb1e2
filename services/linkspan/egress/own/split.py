"""Which member of a group delivers which partitions. Pure; docs/decisions/0027.

Members say in the bytes that the group's protocol has for them which version they are and what rollout they know of.
Where none is in force, or not both of its versions are there, aiokafka's range assignment of all members is the answer.
Else it is that of each version's members, in their part of the partitions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from linkspan.kernel.records.rollout import portion


class MemberSays(msgspec.Struct, frozen=True, omit_defaults=True):
    """``version``: of its own. ``share``: percent of the partitions for ``to``; ``serial``: which of two members knows
    the newer command. ``to`` empty: no rollout is in force for this flow."""

    version: str = ""
    serial: int = 0
    to: str = ""
    before: str = ""
    share: int = 0


_encoder, _decoder = msgspec.json.Encoder(), msgspec.json.Decoder(MemberSays)


def said_bytes(said: MemberSays) -> bytes:
    """For the group's protocol."""
    return _encoder.encode(said)


def said_of(data: bytes | None) -> MemberSays:
    """A member whose bytes mean nothing here is of an unknown version, and knows of no rollout."""
    try:
        return _decoder.decode(data or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return MemberSays()


@dataclass(frozen=True, slots=True)
class _Partitions:
    """As much of a cluster as the range assignment asks."""

    topic: str
    numbers: Sequence[int]

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(self.numbers) if topic == self.topic else set()


Members = Mapping[str, ConsumerProtocolMemberMetadata]
Assignments = dict[str, ConsumerProtocolMemberAssignment]


def split(topic: str, partitions: Sequence[int], members: Members) -> Assignments | None:
    """What each is to deliver, where a rollout decides it; None where none does."""
    said = {member: said_of(metadata.user_data) for member, metadata in members.items()}
    newest = max(said.values(), key=lambda one: one.serial, default=MemberSays())
    if not newest.to or not {newest.to, newest.before} <= {one.version for one in said.values()}:
        return None
    ranked = sorted(partitions)
    taken = portion(len(ranked), newest.share)
    new = {member: metadata for member, metadata in members.items() if said[member].version == newest.to}
    old = {member: metadata for member, metadata in members.items() if member not in new}
    return _ranges(topic, ranked[:taken], new) | _ranges(topic, ranked[taken:], old)


def _ranges(topic: str, partitions: Sequence[int], members: Members) -> Assignments:
    found: Assignments = RangePartitionAssignor.assign(_Partitions(topic, partitions), members)
    return found
