"""When a destination is asked, and when it is left alone."""

from __future__ import annotations

import random

import pytest

from linkspan.egress.partition.answer import Unanswered
from linkspan.kernel.errors import DeliveryError, RateLimited, Rejected, Transient, Unavailable
from linkspan.kernel.resilience.breaker import PROBES, Breaker, Doubt, Mode
from linkspan.kernel.resilience.retry import RetryPolicy
from linkspan.kernel.resilience.throttle import Throttle


def breaker(full: int = 8) -> Breaker:
    return Breaker(RetryPolicy(first=2.0, cap=60.0, spread=random.Random(1)), full)


def fail(gate: Breaker, error: DeliveryError, now: float, doubt: Doubt | None = None) -> Doubt:
    found = gate.answered(gate.submitted(doubt), error, now)
    assert found is not None
    return found


def test_while_open_nothing_goes_then_a_few_probes_find_out_whether_it_is_back() -> None:
    gate = breaker()
    fail(gate, Unavailable("refused"), 1.0)
    until = gate.wake_at()
    assert until is not None
    assert gate.mode is Mode.OPEN
    assert 1 + 1.6 <= until <= 1 + 2.4
    assert gate.budget(until - 0.01, 100) == 0
    assert gate.budget(until, 100) == PROBES
    probes = [gate.submitted() for _ in range(PROBES)]
    assert gate.mode is Mode.PROBING
    assert gate.budget(until, 100) == 0
    for probe in probes:
        gate.answered(probe, Unavailable("refused"), until)
    longer = gate.wake_at()
    assert gate.mode is Mode.OPEN
    assert longer is not None
    assert longer - until > 2 * (until - 1)


def test_after_an_opening_the_concurrency_doubles_from_one_to_the_full() -> None:
    gate = breaker(full=8)
    fail(gate, Unavailable("refused"), 0.0)
    gate.answered(gate.submitted(), None, 5.0)
    assert gate.mode is Mode.CLOSED
    seen = []
    while gate.holds_back:
        budget = gate.budget(6.0, 100)
        seen.append(budget)
        for ticket in [gate.submitted() for _ in range(budget)]:
            gate.answered(ticket, None, 6.0)
    assert seen == [1, 2, 4]
    assert gate.budget(6.0, 100) == 100


def test_answers_of_attempts_from_before_the_pause_neither_lengthen_nor_end_it() -> None:
    gate = breaker()
    before = [gate.submitted() for _ in range(20)]
    fail(gate, Unavailable("refused"), 1.0)
    until = gate.wake_at()
    for ticket in before[:10]:
        gate.answered(ticket, Unanswered("lost"), 1.1)
    for ticket in before[10:]:
        gate.answered(ticket, None, 1.2)
    assert gate.wake_at() == until


def test_a_message_that_fails_while_others_are_answered_does_not_stop_them() -> None:
    gate = breaker()
    slow = gate.submitted()
    gate.answered(gate.submitted(), None, 5.0)
    gate.answered(slow, Unanswered("no answer in time"), 11.0)
    assert gate.budget(11.0, 100) == 100


@pytest.mark.parametrize("error", [Unanswered("no answer in time"), Transient("500")])
def test_one_message_without_an_answer_of_use_stops_nobody_a_second_one_does(error: DeliveryError) -> None:
    gate = breaker()
    doubt = fail(gate, error, 1.0)
    for now in (3.0, 7.0, 15.0):
        doubt = fail(gate, error, now, doubt)
    assert gate.mode is Mode.CLOSED
    fail(gate, error, 16.0)
    assert gate.mode is Mode.OPEN


def test_one_message_that_fails_again_and_again_makes_the_others_wait_no_longer() -> None:
    gate = breaker()
    doubt, now = fail(gate, Unavailable("refused"), 0.0), 0.0
    for _ in range(10):
        until = gate.wake_at()
        assert until is not None
        assert until - now < 3
        now = until
        doubt = fail(gate, Unavailable("refused"), now, doubt)


def test_later_said_by_the_destination_is_for_all_and_at_most_an_hour() -> None:
    gate = breaker()
    early = gate.submitted()
    gate.answered(gate.submitted(), None, 5.0)
    gate.answered(early, Unavailable("429", retry_after=30.0), 6.0)
    assert gate.budget(35.9, 100) == 0
    assert gate.budget(36.0, 100) == PROBES
    fail(gate, Unavailable("503", retry_after=86_400.0), 40.0)
    assert gate.budget(40.0 + 3600, 100) == PROBES


def test_a_refusal_of_a_message_shows_that_the_destination_lives_a_500_does_not() -> None:
    for error, mode in ((Rejected("no"), Mode.CLOSED), (Transient("500"), Mode.OPEN)):
        gate = breaker()
        fail(gate, Unavailable("refused"), 0.0)
        gate.answered(gate.submitted(), error, 5.0)
        assert gate.mode is mode


def test_a_failure_is_charged_only_between_two_others_that_were_taken() -> None:
    gate = breaker()
    doubt = fail(gate, Transient("500"), 1.0)
    gate.answered(gate.submitted(), None, 2.0)
    assert not doubt.due
    fail(gate, Transient("500"), 3.0, doubt)
    assert not doubt.due
    gate.answered(gate.submitted(), None, 4.0)
    assert doubt.due


@pytest.mark.parametrize("error", [Unavailable("503"), RateLimited("429")])
def test_later_is_never_charged(error: DeliveryError) -> None:
    gate, now = breaker(), 1.0
    doubt = fail(gate, Transient("500"), now)
    for _ in range(5):
        now += 100
        gate.answered(gate.submitted(), None, now)
        fail(gate, error, now, doubt)
        gate.answered(gate.submitted(), None, now + 99)
        assert not doubt.due


def test_a_rate_limit_is_for_all_whoever_meets_it() -> None:
    gate = breaker()
    doubt = fail(gate, Transient("500"), 1.0)
    gate.answered(gate.submitted(), None, 2.0)
    fail(gate, RateLimited("429"), 3.0, doubt)
    assert gate.mode is Mode.OPEN


def test_an_opening_makes_void_what_was_proven() -> None:
    gate = breaker()
    doubt = fail(gate, Transient("500"), 1.0)
    gate.answered(gate.submitted(), None, 2.0)
    fail(gate, Transient("500"), 3.0, doubt)
    fail(gate, Unavailable("refused"), 3.1)
    gate.answered(gate.submitted(), None, 9.0)
    assert not doubt.due


def test_a_connection_that_is_lost_opens_it_and_its_return_closes_it_with_a_ramp() -> None:
    gate = breaker()
    gate.connection(None, 0.0)
    assert gate.mode is Mode.CLOSED
    gate.connection("no connection", 1.0)
    gate.connection("no connection", 2.0)
    assert (gate.mode, gate.reason, gate.budget(1e9, 5)) == (Mode.OPEN, "no connection", 0)
    gate.connection(None, 3.0)
    assert (gate.mode, gate.budget(3.0, 5)) == (Mode.CLOSED, 1)


def test_what_was_not_sent_says_nothing_of_the_destination() -> None:
    gate = breaker()
    doubt = fail(gate, Unavailable("refused"), 0.0)
    probe = gate.submitted(doubt)
    assert gate.unsent(probe) is doubt
    assert gate.mode is Mode.OPEN
    assert gate.budget(10.0, 5) == PROBES


def test_a_rate_is_kept_over_any_second_but_for_a_burst_of_a_tenth() -> None:
    throttle, now, sent = Throttle(50.0), 0.0, 0
    while now < 10.0:
        for _ in range(throttle.budget(now, 1000)):
            throttle.spend()
            sent += 1
        wake = throttle.wake_at()
        assert wake is not None
        assert wake > now
        now = wake + 1e-9
    assert 495 <= sent <= 506


def test_without_a_rate_nothing_is_held_back() -> None:
    throttle = Throttle(None)
    assert throttle.budget(0.0, 7) == 7
    assert throttle.wake_at() is None


def test_after_a_probe_that_failed_before_another_one_has_its_turn_at_once() -> None:
    gate = breaker()
    doubt = fail(gate, Unavailable("refused"), 0.0)
    now = gate.wake_at() or 0.0
    doubt = fail(gate, Unavailable("refused"), now, doubt)
    assert gate.budget(now, 5) == PROBES
    gate.answered(gate.submitted(), None, now)
    assert gate.mode is Mode.CLOSED


def test_several_probes_that_failed_before_make_a_pause() -> None:
    gate = breaker()
    doubts = [fail(gate, Unavailable("refused"), 0.0) for _ in range(PROBES)]
    now = gate.wake_at() or 0.0
    for doubt in doubts:
        fail(gate, Unavailable("refused"), now, doubt)
    assert gate.budget(now, 5) == 0
