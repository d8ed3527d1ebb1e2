"""Rollouts as the control topic has them."""

from linkspan.control.fold import ControlState
from linkspan.control.shown import subject
from linkspan.kernel.commands import (
    ROLLOUT_FINISH,
    ROLLOUT_SHARE,
    ROLLOUT_START,
    ROLLOUT_STOP,
    Command,
    CommandCodec,
)
from linkspan.kernel.records.rollout import RolloutPlan, portion
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas

PLAN = RolloutPlan("0.2.0", "0.1.0", flows=("orders",))


def begun(plan: RolloutPlan = PLAN) -> Command:
    return Command(ROLLOUT_START, by="ann", reason="the new version", body=plan)


def of(start: Command, kind: str, value: str = "", at: int = 1) -> Command:
    return Command(kind, by="bob", reason="why", plan=start.id, value=value, at=at)


def test_a_rollout_is_read_as_it_was_written() -> None:
    codec = CommandCodec(SchemaCatalog(packaged_schemas()))
    command = begun()
    assert codec.decode(codec.encode(command)) == command
    assert subject(command) == "rollout from 0.1.0 to 0.2.0"


def test_its_share_only_rises_and_each_step_says_since_when() -> None:
    state, start = ControlState(), begun()
    assert state.fold(start).effective
    assert state.rollouts.current is not None
    assert (state.rollouts.current.share, state.rollouts.current.state) == (0, "waiting")
    assert state.fold(of(start, ROLLOUT_SHARE, "25", 7)).effective
    assert state.rollouts.current.since == 7
    for value in ("25", "10", "0", "101", "-1", "", "x", "¹"):
        assert not state.fold(of(start, ROLLOUT_SHARE, value, 9)).effective
    assert (state.rollouts.current.share, state.rollouts.current.since) == (25, 7)


def test_a_stopped_one_delivers_nothing_and_does_not_go_on() -> None:
    state, start = ControlState(), begun()
    state.fold(start)
    state.fold(of(start, ROLLOUT_SHARE, "50"))
    assert state.fold(of(start, ROLLOUT_STOP)).result == "0.1.0 delivers everything"
    current = state.rollouts.current
    assert current is not None
    assert current.stopped is not None
    assert (current.share, current.stopped.by, current.state) == (0, "bob", "stopped")
    assert state.fold(of(start, ROLLOUT_SHARE, "100")).result == "was stopped by bob"
    assert not state.fold(of(start, ROLLOUT_STOP)).effective
    assert state.fold(begun()).effective


def test_only_one_is_under_way_and_it_is_finished_when_all_is_delivered_by_the_new_version() -> None:
    state, start = ControlState(), begun()
    state.fold(start)
    assert state.fold(begun()).result == "a rollout to 0.2.0 is under way, begun by ann"
    assert state.fold(of(start, ROLLOUT_FINISH)).result == "is at 0 % and not stopped"
    state.fold(of(start, ROLLOUT_SHARE, "100"))
    assert not state.fold(of(begun(), ROLLOUT_FINISH)).effective
    before = state.rollouts.serial
    assert state.fold(of(start, ROLLOUT_FINISH)).effective
    assert state.rollouts.current is None
    assert state.rollouts.serial == before + 1


def test_what_is_no_rollout_changes_nothing() -> None:
    state = ControlState()
    for plan in (
        RolloutPlan("0.1.0", "0.1.0"),
        RolloutPlan("", "0.1.0"),
        RolloutPlan("0.2.0", "0.1.0", (50, 25, 100)),
        RolloutPlan("0.2.0", "0.1.0", (10,)),
        RolloutPlan("0.2.0", "0.1.0", ()),
        RolloutPlan("0.2.0", "0.1.0", (0, 100)),
    ):
        assert not state.fold(begun(plan)).effective
    assert not state.fold(Command(ROLLOUT_START)).effective
    assert state.rollouts.current is None
    assert state.rollouts.serial == 0


def test_a_stage_is_rounded_down_but_is_one_partition_at_least() -> None:
    assert [portion(12, share) for share in (0, 1, 10, 25, 50, 99, 100)] == [0, 1, 1, 3, 6, 11, 12]
    assert [portion(1, share) for share in (0, 10, 100)] == [0, 1, 1]
    assert [PLAN.after(share) for share in (0, 10, 50, 100)] == [10, 25, 100, None]
    assert (PLAN.lasts(10), PLAN.lasts(100)) == (3600, 86400)
