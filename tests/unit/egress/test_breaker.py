"""When a destination is asked, and when it is left alone."""

from __future__ import annotations

import random

from linkspan.egress.deliver.breaker import Breaker
from linkspan.egress.deliver.throttle import Throttle
from linkspan.egress.partition.answer import Unanswered
from linkspan.egress.partition.retry import RetryPolicy
from linkspan.kernel.errors import Rejected, Transient, Unavailable


def breaker() -> Breaker:
    return Breaker(RetryPolicy(first=2.0, cap=60.0, spread=random.Random(1)))


def test_after_a_failure_one_probe_a_time_finds_out_whether_it_is_back() -> None:
    gate = breaker()
    gate.answered(Unavailable("refused"), started=0.0, now=1.0)
    until = gate.wake_at()
    assert until is not None
    assert 1 + 1.6 <= until <= 1 + 2.4
    assert gate.budget(until - 0.01, 100) == 0
    assert gate.budget(until, 100) == 1
    gate.submitted()
    assert gate.budget(until, 100) == 0
    gate.answered(Unavailable("refused"), started=until, now=until)
    longer = gate.wake_at()
    assert longer is not None
    assert longer - until > until - 1
    gate.submitted()
    gate.answered(None, started=longer, now=longer)
    assert gate.budget(longer, 100) == 100


def test_answers_of_attempts_from_before_the_pause_neither_lengthen_nor_end_it() -> None:
    gate = breaker()
    gate.answered(Unavailable("refused"), started=0.0, now=1.0)
    until = gate.wake_at()
    for _ in range(20):
        gate.answered(Unanswered("lost"), started=0.5, now=1.1)
    gate.answered(None, started=0.5, now=1.2)
    assert gate.wake_at() == until


def test_a_message_that_times_out_while_others_are_answered_does_not_stop_them() -> None:
    gate = breaker()
    gate.answered(None, started=0.0, now=5.0)
    gate.answered(Unanswered("no answer in time"), started=1.0, now=11.0)
    assert gate.budget(11.0, 100) == 100


def test_later_said_by_the_destination_is_for_all() -> None:
    gate = breaker()
    gate.answered(None, started=0.0, now=5.0)
    gate.answered(Unavailable("429", retry_after=30.0), started=1.0, now=6.0)
    assert gate.budget(35.9, 100) == 0
    assert gate.budget(36.0, 100) == 1


def test_a_refusal_of_a_message_shows_that_the_destination_lives() -> None:
    for error in (Rejected("no"), Transient("500")):
        gate = breaker()
        gate.answered(Unavailable("refused"), started=0.0, now=0.0)
        gate.submitted()
        gate.answered(error, started=5.0, now=5.0)
        assert not gate.open


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
