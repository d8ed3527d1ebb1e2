"""What a rollout's driver makes of what it sees."""

from __future__ import annotations

from typing import Any

import pytest

from linkspan.cli.rollout.counts import Counts
from linkspan.cli.rollout.counts import Done as Work
from linkspan.cli.rollout.look import Faults
from linkspan.cli.rollout.start import _stages
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.records.rollout import RolloutPlan

OLD, NEW, FLOW = "0.9.0", "1.0.0", "orders"
PLAN = RolloutPlan(NEW, OLD, patience=10)


def replica(version: str, *partitions: int, breaker: str = "closed", service: str = "egress") -> dict[str, Any]:
    one = {"flow": FLOW, "partitions": list(partitions), "breaker": breaker, "reason": "503"}
    return {"replica": f"{version}-{partitions}", "version": version, "service": service, "flows": [one]}


def lasting(*replicas: dict[str, Any], share: int = 50) -> str | None:
    """What is said after the patience, with which nothing is said before."""
    faults = Faults(PLAN, {FLOW: 4})
    assert faults.look(replicas, share, 0) is None
    assert faults.look(replicas, share, 9.9) is None
    return faults.look(replicas, share, 10)


def test_an_outcome_is_of_the_version_that_owned_the_partition_then() -> None:
    counts = Counts()
    for kind, epoch, version in (
        ("delivered", 3, ""),
        ("owner", 4, OLD),
        ("delivered", 4, ""),
        ("owner", 5, NEW),
        ("delivered", 4, ""),
        ("delivered", 5, ""),
        ("attempt_failed", 5, ""),
        ("dead_lettered", 5, ""),
        ("held", 5, ""),
    ):
        counts.told(FLOW, 0, kind, epoch, version)
    counts.told(FLOW, 1, "delivered", 1, "")
    assert counts.by_version == {OLD: Work(1), NEW: Work(1, 1, 1)}
    assert str(counts.by_version[NEW]) == "2 of 3 were errors (66.67%)"


def test_one_error_among_the_first_few_is_not_too_many() -> None:
    assert not Work(0, 1, 0).too_many(0.01)
    assert Work(0, 1, 1).too_many(0.01)
    assert Work(0, 1, 0).too_many(0)
    assert not Work(9_900, 50, 50).too_many(0.01)
    assert Work(9_899, 50, 51).too_many(0.01)


def test_a_breaker_that_probes_while_the_old_version_delivers_is_a_fault_that_lasts() -> None:
    faults = Faults(PLAN, {FLOW: 4})
    for now, breaker in ((0, "open"), (4, "probing"), (8, "open"), (9, "probing")):
        assert faults.look((replica(OLD, 2, 3), replica(NEW, 0, 1, breaker=breaker)), 50, now) is None
    said = faults.look((replica(OLD, 2, 3), replica(NEW, 0, 1, breaker="probing")), 50, 10)
    assert said == f"the breaker of {FLOW} is open in {NEW} alone: 503"


def test_a_version_that_delivers_its_share_has_no_fault() -> None:
    assert lasting(replica(OLD, 2, 3), replica(NEW, 0), replica(NEW, 1)) is None
    assert lasting(replica(OLD), replica(NEW, 0, 1, 2, 3), share=100) is None


def test_what_it_does_not_deliver_or_delivers_too_much_is_a_fault_once_it_lasts() -> None:
    assert lasting(replica(OLD, 1, 2, 3), replica(NEW, 0)) == f"{NEW} does not deliver orders 1"
    assert lasting(replica(OLD, 0, 1, 2, 3)) == f"{NEW} does not deliver orders 0-1"
    assert lasting(replica(OLD, 3), replica(NEW, 0, 1, 2)) == f"{NEW} delivers orders 2, which is more than 50 %"
    assert lasting(replica(OLD, 2, 3), replica(NEW, 0, 1, service="ingress")) == f"{NEW} does not deliver orders 0-1"


def test_an_open_breaker_is_a_fault_unless_the_destination_is_away_for_the_old_version_too() -> None:
    broken = replica(NEW, 0, 1, breaker="open")
    assert lasting(replica(OLD, 2, 3), broken) == f"the breaker of orders is open in {NEW} alone: 503"
    assert lasting(replica(OLD, 2, 3, breaker="open"), broken) is None
    assert lasting(replica(OLD), replica(NEW, 0, 1, 2, 3, breaker="open"), share=100) is not None


def test_a_fault_that_passes_counts_from_its_next_beginning() -> None:
    faults, bad, good = Faults(PLAN, {FLOW: 4}), [replica(NEW, 0)], [replica(NEW, 0, 1)]
    assert faults.look(bad, 50, 0) is None
    assert faults.some
    assert faults.look(good, 50, 9) is None
    assert not faults.some
    assert faults.look(bad, 50, 10) is None
    assert faults.look(bad, 50, 19) is None
    assert faults.look(bad, 50, 20) is not None


def test_a_replica_that_begins_anew_again_and_again_is_a_fault_and_one_that_was_silent_is_not() -> None:
    faults, others = Faults(PLAN, {FLOW: 4}), [replica(OLD, 2, 3)]
    for second in range(0, 60, 2):
        name = f"pod-{second // 20}"  # a new process every 20 s
        assert faults.look([*others, replica(NEW, 0, 1) | {"replica": name}], 50, second) is None
        assert faults.look([*others, replica(NEW, 0, 1) | {"replica": "other"}], 50, second) is None
    for name in ("pod-3", "pod-4"):
        why = faults.look([*others, replica(NEW, 0, 1) | {"replica": name}], 50, 61)
    assert why == f"replicas of {NEW} ended and began anew 5 times within 100 s"
    steady = [*others, replica(NEW, 0, 1) | {"replica": "pod-5"}]
    assert faults.look(steady, 50, 170) is None


@pytest.mark.parametrize("text", ["", "x", "10", "50,25,100", "0,100", "10,10,100", "10,,100", "-5,100", "10,101"])
def test_stages_that_do_not_rise_to_100_are_a_mistake_that_says_what_is_expected(text: str) -> None:
    with pytest.raises(UserMistake, match=r"^--stages .*such as 10,25,50,100$"):
        _stages(text)


def test_stages_may_be_one() -> None:
    assert _stages("100") == (100,)
    assert _stages(" 5, 100") == (5, 100)
