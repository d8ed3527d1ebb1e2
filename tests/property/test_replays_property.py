"""What becomes of replays follows from the order of their commands alone, in every replica alike."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkspan.control.fold import ControlState
from linkspan.control.replays import ACTIVE, Phase, Replay
from linkspan.control.verdict import Verdict
from linkspan.kernel import commands as kinds
from linkspan.kernel.commands import Command, CommandCodec
from linkspan.kernel.records.plan import DELIVERED, OPEN, PartDone, PlanHead, PlanPart, ReplayOptions, Stood
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas

CODEC = CommandCodec(SchemaCatalog(packaged_schemas()))
PLANS = {"a": "orders", "b": "orders", "d": "invoices"}
TO_SEND = {0: 3, 1: 1}
HEAD = PlanHead(
    tuple(
        PlanPart(number, 1, b"", 100, 0, {Stood(OPEN).code: count, Stood(DELIVERED).code: 2})
        for number, count in TO_SEND.items()
    ),
    b"digest",
)
RECORDS = HEAD.records
NO_LIST = PlanHead((), b"digest")
STEERING = (
    kinds.REPLAY_PAUSE,
    kinds.REPLAY_RESUME,
    kinds.REPLAY_RATE,
    kinds.REPLAY_CONFIRM,
    kinds.REPLAY_CANCEL,
    kinds.REPLAY_ABORT,
)


def done(partition: int) -> PartDone:
    return PartDone({"delivered": TO_SEND.get(partition, 0), "already_delivered": 2}, 50)


def commands() -> st.SearchStrategy[Command]:
    plan = st.sampled_from([*PLANS, "nowhere"])
    options = st.builds(ReplayOptions, canary=st.sampled_from([{}, {0: 1, 1: 1}]), rate=st.sampled_from([0.0, 5.0]))
    frozen = st.builds(lambda one: made(kinds.PLAN_FROZEN, one, body=HEAD), st.sampled_from(sorted(PLANS)))
    start = st.builds(lambda one, how: made(kinds.REPLAY_START, one, body=how), plan, options)
    steer = st.builds(lambda kind, one: made(kind, one, value="7"), st.sampled_from(STEERING), plan)
    account = st.one_of(
        st.builds(done, st.integers(0, 2)), st.just(PartDone({"delivered": 1}, 1)), st.just(PartDone({"lost": 5}, 1))
    )
    part = st.builds(
        lambda one, number, body: made(kinds.REPLAY_PART_DONE, one, partition=number, body=body),
        *(plan, st.integers(0, 2), account),
    )
    return st.one_of(frozen, start, steer, part)


def made(kind: str, plan: str, **more: Any) -> Command:
    return Command(kind, PLANS.get(plan, "orders"), plan=plan, by="ann", reason="to see", at=1_000, **more)


def standing(replay: Replay) -> tuple[Any, ...]:
    return (
        *(replay.plan, replay.phase, replay.rate, replay.paused, replay.confirmed, replay.options, replay.started),
        *(replay.stopped, replay.ended_at, dict(replay.done)),
    )


@given(st.lists(commands(), max_size=40))
def test_every_replica_comes_to_the_same_verdicts_and_a_flow_has_one_active_replay_at_most(
    log: list[Command],
) -> None:
    here, there = ControlState(), ControlState()
    for command in [*(made(kinds.PLAN_FROZEN, plan, body=HEAD) for plan in ("a", "b")), *log]:
        before = {one.plan: standing(one) for one in here.replays}
        verdict = here.fold(command)
        assert there.fold(CODEC.decode(CODEC.encode(command))) == verdict
        after = {one.plan: standing(one) for one in here.replays}
        assert {one.plan: standing(one) for one in there.replays} == after
        assert verdict.effective == (before != after), (command.kind, verdict)
        for flow in set(PLANS.values()):
            assert sum(one.active for one in here.replays if one.flow == flow) <= 1
        for replay in here.replays:
            check(replay)


def check(replay: Replay) -> None:
    assert (replay.phase in ACTIVE) == replay.active == (replay.started is not None and bool(replay.open))
    shares = sum(replay.share(number) for number in TO_SEND)
    assert not replay.open or shares == pytest.approx(1.0)
    if replay.started is not None and not replay.active:
        assert replay.ended_at is not None
        assert replay.dispositions.total() == RECORDS
    else:
        assert replay.ended_at is None


@given(st.permutations(["by ann", "by bob", "by cem"]))
def test_the_second_start_of_one_plan_loses_whatever_the_order(order: list[str]) -> None:
    state = ControlState()
    state.fold(made(kinds.PLAN_FROZEN, "a", body=HEAD))
    starts = [Command(kinds.REPLAY_START, "orders", plan="a", by=one, body=ReplayOptions()) for one in order]
    verdicts = [state.fold(one) for one in starts]
    assert [one.effective for one in verdicts] == [True, False, False]
    assert verdicts[1].result == f"was started already by {order[0]}"
    replay = state.replays.get("a")
    assert replay is not None
    assert replay.started is not None
    assert replay.started.by == order[0]


def started(**options: Any) -> tuple[ControlState, Replay]:
    state = ControlState()
    state.fold(made(kinds.PLAN_FROZEN, "a", body=HEAD))
    assert state.fold(made(kinds.REPLAY_START, "a", body=ReplayOptions(**options))).effective
    replay = state.replays.get("a")
    assert replay is not None
    return state, replay


def part_done(state: ControlState, partition: int, body: PartDone | None = None) -> Verdict:
    return state.fold(made(kinds.REPLAY_PART_DONE, "a", partition=partition, body=body or done(partition)))


def test_a_part_is_done_once_and_the_last_one_ends_the_replay() -> None:
    state, replay = started()
    assert part_done(state, 0).result == "partition 0 is done: 2 already_delivered, 3 delivered"
    again = part_done(state, 0, PartDone({"failed": 5}, 60))
    assert (again.result, again.effective) == ("was done already", False)
    assert replay.dispositions == {"delivered": 3, "already_delivered": 2}
    assert (replay.phase, replay.share(0), replay.share(1)) == (Phase.RUNNING, 0.0, 1.0)
    assert part_done(state, 1).effective
    assert (replay.phase, replay.ended_at) == (Phase.COMPLETED, 1_000)


@pytest.mark.parametrize(
    "account", [{"delivered": 4}, {"delivered": 6}, {"delivered": 6, "failed": -1}, {"delivered": 4, "lost": 1}, {}]
)
def test_an_account_that_does_not_add_up_is_not_taken(account: dict[str, int]) -> None:
    state, replay = started()
    assert not part_done(state, 0, PartDone(account, 60)).effective
    assert not replay.done


def test_a_cancelled_replay_ends_when_all_its_owners_say_so_and_nothing_else_changes_it() -> None:
    state, replay = started(canary={0: 1, 1: 0})
    assert state.fold(made(kinds.REPLAY_CANCEL, "a")).effective
    for kind in STEERING:
        assert state.fold(made(kind, "a", value="9")) == Verdict("is ending already", False), kind
    assert not state.fold(made(kinds.REPLAY_START, "b", body=ReplayOptions())).effective
    part_done(state, 0, PartDone({"cancelled": 5}, 60))
    assert replay.phase is Phase.ENDING
    part_done(state, 1, PartDone({"cancelled": 3}, 60))
    assert replay.phase is Phase.CANCELLED


def test_what_is_no_rate_changes_nothing() -> None:
    state, replay = started(rate=5.0)
    for value in ("fast", "-1", "nan", "inf", ""):
        assert not state.fold(made(kinds.REPLAY_RATE, "a", value=value)).effective, value
    assert replay.rate == 5.0
    assert state.fold(made(kinds.REPLAY_RATE, "a", value="0")).result == "no limit of its own"


def test_a_plan_without_records_ends_with_its_start() -> None:
    state = ControlState()
    state.fold(made(kinds.PLAN_FROZEN, "a", body=NO_LIST))
    assert state.fold(made(kinds.REPLAY_START, "a", body=ReplayOptions())).effective
    replay = state.replays.get("a")
    assert replay is not None
    assert (replay.phase, replay.ended_at) == (Phase.COMPLETED, 1_000)
