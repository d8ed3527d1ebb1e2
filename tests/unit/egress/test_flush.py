"""What a flush gives up, step by step."""

from __future__ import annotations

from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.lanes import Message
from linkspan.egress.partition.memory import Memory
from linkspan.egress.partition.state import PartitionState
from linkspan.egress.partition.window import WindowLimits
from linkspan.kernel.errors import Rejected, Unavailable
from linkspan.kernel.resilience.retry import RetryPolicy

COMMAND = 7


def owner(memory: Memory | None = None) -> PartitionState:
    return PartitionState(RetryPolicy(3, 1.0, 8.0), WindowLimits(), memory or Memory(), 0)


def message(offset: int, key: bytes = b"a") -> Message:
    return Message(offset, key, None)


def acked(state: PartitionState, effects: list[Record]) -> None:
    for effect in effects:
        state.outcome_acked(effect, effect.message.offset)


def offsets(effects: list[Record]) -> list[int]:
    assert all((one.kind, one.control, one.flushed) == ("discarded", COMMAND, True) for one in effects)
    return [one.message.offset for one in effects]


def test_what_waits_is_given_up_and_what_comes_after_goes_out() -> None:
    state = owner()
    state.fetched([message(0), message(1), message(2), message(3, b"b")])
    state.flush(2, COMMAND)
    found = state.effects()
    assert offsets(found) == [0, 1]
    assert sorted(one.offset for one in state.next_deliveries(9, 0)) == [2, 3]
    assert not state.flushed(2, COMMAND, 4)
    acked(state, found)
    assert state.flushed(2, COMMAND, 4)


def test_what_is_not_fetched_yet_is_given_up_as_it_comes() -> None:
    state = owner()
    state.flush(2, COMMAND)
    assert not state.flushed(2, COMMAND, 0)
    state.fetched([message(0), message(1), message(2)])
    found = state.effects()
    assert offsets(found) == [0, 1]
    acked(state, found)
    assert state.flushed(2, COMMAND, 3)
    assert [one.offset for one in state.next_deliveries(9, 0)] == [2]


def test_an_attempt_under_way_ends_first_and_counts() -> None:
    state = owner()
    state.fetched([message(0), message(1)])
    (taken,) = state.next_deliveries(9, 0)
    state.flush(2, COMMAND)
    found = state.effects()
    assert offsets(found) == [1]
    acked(state, found)
    assert not state.flushed(2, COMMAND, 2)
    delivered = state.answered(taken, None, 0)
    assert delivered is not None
    assert (delivered.kind, delivered.control) == ("delivered", -1)
    acked(state, [delivered])
    assert state.flushed(2, COMMAND, 2)


def test_an_attempt_that_failed_is_given_up_instead_of_tried_again() -> None:
    state = owner()
    state.fetched([message(0), message(1)])
    (taken,) = state.next_deliveries(9, 0)
    state.flush(1, COMMAND)
    assert state.effects() == []
    assert state.answered(taken, Unavailable("away"), 0) is None
    state.flush(1, COMMAND)
    assert offsets(state.effects()) == [0]
    assert [one.offset for one in state.next_deliveries(9, 0)] == [1]


def test_a_message_that_was_put_back_is_given_up_when_its_turn_comes() -> None:
    state = owner()
    state.fetched([message(0)])
    (taken,) = state.next_deliveries(9, 0)
    state.flush(1, COMMAND)
    state.put_back(taken)
    (taken,) = state.next_deliveries(9, 0)
    judged = state.judged(taken, 0)
    assert judged is not None
    assert offsets([judged]) == [0]


def test_a_successor_does_not_send_what_its_predecessor_gave_up_before_it_sent_the_next() -> None:
    """The predecessor died before its ``discarded`` was acknowledged, and after message 1 had left."""
    before = owner()
    before.fetched([message(0), message(1)])
    before.flush(1, COMMAND)
    assert [one.offset for one in before.next_deliveries(9, 0)] == [1]
    after = owner()
    after.flush(1, COMMAND)
    after.fetched([message(0), message(1)])
    assert offsets(after.effects()) == [0]
    assert [one.offset for one in after.next_deliveries(9, 0)] == [1]


def test_outcomes_of_a_flush_do_not_say_that_it_is_carried_out() -> None:
    state = owner()
    state.fetched([message(0), message(1)])
    state.flush(2, COMMAND)
    acked(state, state.effects()[:1])
    assert state.control <= COMMAND
    state.carried_out(COMMAND + 1)
    assert state.control == COMMAND + 1


def test_what_is_held_stays() -> None:
    state = owner()
    state.fetched([message(0)])
    (taken,) = state.next_deliveries(9, 0)
    dead = state.answered(taken, Rejected("no"), 0)
    assert dead is not None
    state.outcome_acked(dead, 0, 0)
    state.fetched([message(1)])
    (held,) = state.effects()
    state.flush(3, COMMAND)
    assert state.effects() == []
    state.outcome_acked(held, 1, 1)
    state.fetched([message(2)])
    found = state.effects()
    assert offsets(found) == [2]
    acked(state, found)
    assert len(state.memory.holds) == 1
    assert state.memory.holds[b"a"].last == 1
    assert state.flushed(3, COMMAND, 3)
