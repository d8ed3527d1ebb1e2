"""What is asked of a replay, and how far it is, without anything beside."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from linkspan.control.errors import BadRequest
from linkspan.control.fold import ControlState
from linkspan.control.replaying.options import options_of, quotas
from linkspan.control.replaying.progress import ProgressView
from linkspan.control.replaying.shown import phase_of
from linkspan.control.replays import Replay
from linkspan.control.v1 import replays_pb2 as pb
from linkspan.kernel import commands as kinds
from linkspan.kernel.codec import Datum
from linkspan.kernel.commands import Command
from linkspan.kernel.records.plan import OPEN, PartDone, PlanHead, PlanPart, ReplayOptions, Stood

HEAD = PlanHead(tuple(PlanPart(number, 1, b"", 100, 0, {Stood(OPEN).code: 10}) for number in range(2)), b"")


@given(st.integers(0, 2_000), st.dictionaries(st.integers(0, 20), st.integers(0, 300), max_size=8))
def test_quotas_add_up_to_the_canary_and_no_partition_sends_more_than_it_has(
    canary: int, to_send: dict[int, int]
) -> None:
    found = quotas(canary, to_send)
    whole = sum(to_send.values())
    if canary >= whole:
        assert found == {}, "nothing is left that a confirmation could be about"
        return
    assert sum(found.values()) == canary
    assert found.keys() == {partition for partition, count in to_send.items() if count}
    assert all(abs(found[one] - canary * to_send[one] / whole) < 1 for one in found)
    assert all(count <= to_send[one] for one, count in found.items())


def test_what_is_not_said_has_its_usual_value() -> None:
    found = options_of(pb.StartReplayRequest(), HEAD)
    assert found == ReplayOptions(max_failures=0.1, min_sent=20, yield_lag=5.0, abort_lag=0.0, abort_on_breaker=True)


def test_zero_is_said_and_is_not_the_usual_value() -> None:
    found = options_of(
        pb.StartReplayRequest(max_failures=0, yield_lag=Duration(), ramp=Duration(seconds=90), wait_for_breaker=True),
        HEAD,
    )
    assert (found.max_failures, found.yield_lag, found.ramp, found.abort_on_breaker) == (0.0, 0.0, 90.0, False)


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ({"rate": -1}, ["rate"]),
        ({"rate": float("nan")}, ["rate"]),
        ({"rate": float("inf"), "canary": -2}, ["rate", "canary"]),
        ({"max_failures": 1.5}, ["max_failures"]),
        ({"ramp": Duration(seconds=-1), "abort_lag": Duration(seconds=-1)}, ["ramp", "abort_lag"]),
        ({"yield_lag": Duration(seconds=-1), "expected": -1}, ["yield_lag", "expected"]),
    ],
)
def test_every_fault_is_named(said: dict[str, Any], fields: list[str]) -> None:
    with pytest.raises(BadRequest) as raised:
        options_of(pb.StartReplayRequest(**said), HEAD)
    assert [fault.field for fault in raised.value.faults] == fields


class Replica:
    """The status records of replicas, and a clock, as a test sets them; one replay under way."""

    def __init__(self, **options: Any) -> None:
        self.state, self.said, self.now = ControlState(), list[Datum](), 0.0
        self.give(kinds.PLAN_FROZEN, body=HEAD)
        self.give(kinds.REPLAY_START, body=ReplayOptions(**options))
        found = self.state.replays.get("a")
        assert found is not None
        self.replay: Replay = found

        async def heard() -> list[Datum]:
            return self.said

        self.view = ProgressView(lambda: self.said, heard, lambda: self.now)

    def give(self, kind: str, **more: Any) -> None:
        assert self.state.fold(Command(kind, "orders", plan="a", **more)).effective

    def say(self, partitions: list[int], waits: str = "", plan: str = "a", **dispositions: int) -> None:
        one = {"plan": plan, "partitions": partitions, "dispositions": dispositions, "inFlight": 1, "waits": waits}
        self.said.append({"replays": [one]})


def test_progress_is_what_is_done_and_what_owners_say_of_the_rest() -> None:
    replica = Replica()
    replica.say([0], delivered=4)
    replica.say([1], delivered=1, failed=1)
    replica.say([0], plan="another", delivered=9)
    found = replica.view.of(replica.replay)
    assert (found.dispositions, found.in_flight, found.failed) == (Counter(delivered=5, failed=1), 2, 1)


def test_a_part_counts_once_where_its_owner_spoke_before_its_account_was_read() -> None:
    replica = Replica()
    replica.say([0, 1], delivered=13)
    replica.give(kinds.REPLAY_PART_DONE, partition=0, body=PartDone({"delivered": 10}, 9))
    assert replica.view.of(replica.replay).dispositions == Counter(delivered=13)


def test_what_was_done_stays_done_while_a_partition_changes_its_owner() -> None:
    replica = Replica()
    replica.say([0, 1], delivered=13)
    assert replica.view.of(replica.replay).finished == 13
    replica.said.clear()
    found = replica.view.of(replica.replay)
    assert (found.finished, found.waits, found.in_flight) == (13, "owner", 0)


def test_rate_and_what_remains_follow_from_the_last_seconds() -> None:
    replica = Replica(rate=4.0)
    replica.say([0, 1], delivered=2)
    first = replica.view.of(replica.replay)
    assert (first.rate, first.remaining) == (0.0, 18 / 4)
    replica.said.clear()
    replica.now = 3.0
    replica.say([0, 1], delivered=8)
    found = replica.view.of(replica.replay)
    assert (found.rate, found.remaining) == (2.0, 6.0)
    replica.now = 20.0
    assert replica.view.of(replica.replay).rate == 0.0


def test_a_replay_waits_for_something_where_all_of_its_owners_do() -> None:
    replica = Replica(canary={0: 1, 1: 1})
    replica.say([0], waits="confirmation")
    replica.say([1])
    found = replica.view.of(replica.replay)
    assert (found.waits, phase_of(replica.replay, found.waits)) == ("", pb.REPLAY_PHASE_RUNNING)
    replica.said.pop()
    replica.say([1], waits="confirmation")
    found = replica.view.of(replica.replay)
    assert (found.waits, phase_of(replica.replay, found.waits)) == ("confirmation", pb.REPLAY_PHASE_CANARY)
    replica.give(kinds.REPLAY_PAUSE)
    found = replica.view.of(replica.replay)
    assert (found.waits, found.remaining) == ("paused", None)
    assert phase_of(replica.replay, found.waits) == pb.REPLAY_PHASE_PAUSED


def test_one_that_has_ended_is_what_its_owners_said_last() -> None:
    replica = Replica()
    replica.say([0, 1], delivered=3)
    replica.view.of(replica.replay)
    for partition in (0, 1):
        replica.give(kinds.REPLAY_PART_DONE, partition=partition, body=PartDone({"failed": 10}, 9))
    found = replica.view.of(replica.replay)
    assert (found.dispositions, found.waits) == (Counter(failed=20), "")
