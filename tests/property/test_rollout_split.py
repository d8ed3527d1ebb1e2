"""Each partition has one owner, whoever is in the group and whatever they have heard of a rollout."""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from hypothesis import assume, given

from linkspan.egress.own.assignor import VersionedAssignor
from linkspan.egress.own.split import Assignments, Members, MemberSays, said_bytes

TOPIC = "t.orders.events"
OLD, NEW, OTHER = "0.1.0", "0.2.0", "0.3.0"


@dataclass
class Cluster:
    count: int

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(self.count)) if topic == TOPIC else set()


def member(data: bytes) -> ConsumerProtocolMemberMetadata:
    return ConsumerProtocolMemberMetadata(0, [TOPIC], data)


def names(versions: list[str]) -> dict[str, str]:
    return {f"member-{number}": version for number, version in enumerate(versions)}


def group(versions: list[str], share: int, heard: list[bool]) -> Members:
    """Those that have not heard the newest command know the one before, of another share."""
    said = {}
    for number, (name, version) in enumerate(names(versions).items()):
        newest = heard[number % len(heard)]
        one = MemberSays(version, 8 if newest else 7, NEW, OLD, share if newest else (share + 50) % 101)
        said[name] = member(said_bytes(one))
    return said


def owned(found: Assignments) -> dict[str, list[int]]:
    return {name: [number for _, numbers in one.assignment for number in numbers] for name, one in found.items()}


def assigned(members: Members, partitions: int) -> dict[str, list[int]]:
    return owned(VersionedAssignor("orders", TOPIC).assign(Cluster(partitions), members))


versions = st.lists(st.sampled_from([OLD, NEW, OTHER]), min_size=1, max_size=8)
counts = st.integers(1, 24)
heard = st.lists(st.booleans(), min_size=1, max_size=8).filter(any)


@given(versions, st.integers(0, 100), counts, heard)
def test_every_partition_has_exactly_one_owner(versions: list[str], share: int, count: int, heard: list[bool]) -> None:
    found = assigned(group(versions, share, heard), count)
    assert sorted(number for numbers in found.values() for number in numbers) == list(range(count))
    assert found.keys() == names(versions).keys()


@given(versions, st.integers(0, 100), counts, heard)
def test_the_new_version_has_its_share_and_the_old_one_the_rest(
    versions: list[str], share: int, count: int, heard: list[bool]
) -> None:
    assume({OLD, NEW} <= set(versions) and any(heard[number % len(heard)] for number in range(len(versions))))
    found = assigned(group(versions, share, heard), count)
    of_new = sorted(number for name, version in names(versions).items() if version == NEW for number in found[name])
    expected = 0 if share == 0 else max(1, count * share // 100)
    assert of_new == list(range(expected))


@given(versions, st.integers(0, 100), st.integers(0, 100), counts)
def test_a_greater_share_takes_no_partition_back(versions: list[str], one: int, other: int, count: int) -> None:
    assume({OLD, NEW} <= set(versions))
    less, more = sorted((one, other))

    def of_new(share: int) -> set[int]:
        found = assigned(group(versions, share, [True]), count)
        return {number for name, version in names(versions).items() if version == NEW for number in found[name]}

    assert of_new(less) <= of_new(more)


@given(versions, counts, st.integers(0, 9))
def test_without_a_rollout_it_is_the_range_assignment(versions: list[str], count: int, serial: int) -> None:
    members = {name: member(said_bytes(MemberSays(one, serial))) for name, one in names(versions).items()}
    assert assigned(members, count) == owned(RangePartitionAssignor.assign(Cluster(count), members))


@given(versions, st.integers(0, 100), counts)
def test_where_one_of_the_two_versions_is_alone_it_is_the_range_assignment(
    versions: list[str], share: int, count: int
) -> None:
    assume(not {OLD, NEW} <= set(versions))
    members = group(versions, share, [True])
    assert assigned(members, count) == owned(RangePartitionAssignor.assign(Cluster(count), members))


@given(versions, st.lists(st.binary(max_size=40), min_size=8, max_size=8), counts)
def test_what_a_member_says_may_be_anything(versions: list[str], data: list[bytes], count: int) -> None:
    members = {name: member(said) for name, said in zip(names(versions), data, strict=False)}
    found = assigned(members, count)
    assert sorted(number for numbers in found.values() for number in numbers) == list(range(count))


@given(st.integers(0, 5), st.integers(1, 5), st.integers(1, 100), counts)
def test_members_without_rollouts_count_as_the_old_version(old: int, new: int, share: int, count: int) -> None:
    """They say nothing of themselves, so one that does must be of the old version too."""
    members = group([OLD] + [NEW] * new, share, [True]) | {f"plain-{number}": member(b"") for number in range(old)}
    found = assigned(members, count)
    of_new = {number for name in (f"member-{one}" for one in range(1, new + 1)) for number in found[name]}
    assert of_new == set(range(max(1, count * share // 100)))
