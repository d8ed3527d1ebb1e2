"""Invariants 3 and 6 together: an outage spends no attempt of any message, and a bad message stops only its own key."""

from __future__ import annotations

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.property.flow_model import ATTEMPTS, FAILURES, LIMITS, TIMEOUT, World

from linkspan.kernel.resilience.breaker import PROBES

KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f", None])
HOW = st.sampled_from(sorted(FAILURES))
CHARGED = st.sampled_from(["silent", "cut", "500"])
SPACING = st.sampled_from([0.01, 0.3, 1.0, 4.0])
DAY = 24 * 3600.0
many = settings(max_examples=200, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
fewer = settings(many, max_examples=60)


@many
@given(
    keys=st.lists(KEYS, min_size=1, max_size=120),
    arrive=SPACING,
    start=st.floats(0, 200),
    lasts=st.floats(0.001, 4 * 3600),
    how=HOW,
    seed=st.integers(0, 2**16),
)
def test_an_outage_of_any_length_and_kind_spends_no_attempt(
    keys: list[bytes | None], arrive: float, start: float, lasts: float, how: str, seed: int
) -> None:
    world = World(keys, arrive, [(start, start + lasts, how)], seed=seed).run(DAY)
    assert world.kinds() == {"delivered": len(keys)}
    assert world.charged == {}
    assert world.most_unfinished <= LIMITS.messages
    assert max(at for _, at in world.ends.values()) <= max(start + lasts, arrive * len(keys)) + 200 + 2 * len(keys)


@many
@given(
    keys=st.lists(KEYS, min_size=1, max_size=60),
    arrive=SPACING,
    gaps=st.lists(st.tuples(st.floats(0.1, 60), st.floats(0.1, 300), HOW), min_size=2, max_size=5),
    seed=st.integers(0, 2**16),
)
def test_several_outages_charge_a_message_less_often_than_there_were(
    keys: list[bytes | None], arrive: float, gaps: list[tuple[float, float, str]], seed: int
) -> None:
    outages, at = [], 0.0
    for gap, lasts, how in gaps:
        outages.append((at + gap, at + gap + lasts, how))
        at += gap + lasts
    world = World(keys, arrive, outages, seed=seed).run(DAY)
    assert set(world.ends) == set(range(len(keys)))
    assert all(count < len(outages) for count in world.charged.values())


@fewer
@given(bad=st.integers(0, 30), how=CHARGED, others=st.sampled_from([0.2, 1.0, 4.0]), seed=st.integers(0, 2**16))
def test_a_message_that_alone_fails_is_dead_after_its_attempts_and_every_other_is_delivered(
    bad: int, how: str, others: float, seed: int
) -> None:
    count = int(400 / others) + 100
    keys: list[bytes | None] = [b"%d" % (number % 12) for number in range(count)]
    keys[bad] = b"bad"
    world = World(keys, others, bad={bad: how}, seed=seed).run(DAY)
    assert world.ends[bad][0] == "dead_lettered"
    assert world.charged == {bad: ATTEMPTS}
    assert world.kinds() == {"delivered": count - 1, "dead_lettered": 1}
    assert max(at - offset * others for offset, (_, at) in world.ends.items() if offset != bad) < 4 * TIMEOUT


@fewer
@given(bad=st.integers(0, 30), how=st.sampled_from(["refused", "503"]), seed=st.integers(0, 2**16))
def test_later_said_to_one_message_alone_is_never_charged_and_stops_no_other(bad: int, how: str, seed: int) -> None:
    keys: list[bytes | None] = [b"%d" % (number % 12) for number in range(600)]
    keys[bad] = b"bad"
    world = World(keys, 0.5, bad={bad: how}, seed=seed, span=10_000).run(600)
    assert world.charged == {}
    assert world.kinds() == {"delivered": 599}
    assert sum(1 for _, offset in world.tries if offset == bad) < 40
    assert max(at - offset * 0.5 for offset, (_, at) in world.ends.items()) < 4 * TIMEOUT


@fewer
@given(
    bad=st.integers(0, 30),
    how=CHARGED,
    start=st.floats(0, 60),
    lasts=st.floats(0.1, 3600),
    outage=HOW,
    seed=st.integers(0, 2**16),
)
def test_both_at_once_only_the_bad_message_is_charged(
    bad: int, how: str, start: float, lasts: float, outage: str, seed: int
) -> None:
    count = int((start + lasts + 600) / 1.5)
    keys: list[bytes | None] = [b"%d" % (number % 12) for number in range(count)]
    keys[bad] = b"bad"
    world = World(keys, 1.5, [(start, start + lasts, outage)], {bad: how}, seed=seed).run(DAY)
    assert world.charged == {bad: ATTEMPTS}
    assert world.kinds() == {"delivered": count - 1, "dead_lettered": 1}


def test_an_hour_away_costs_few_attempts_and_the_backlog_comes_back_on_a_ramp() -> None:
    keys: list[bytes | None] = [b"%d" % number for number in range(200)]
    world = World(keys, 0.1, [(5.0, 3605.0, "refused")], full=16, latest=0.2).run(DAY)
    while_away = [at for at, _ in world.tries if 5 <= at < 3605]
    assert len(while_away) < 250
    assert len({offset for at, offset in world.tries if 5 <= at < 3605}) >= LIMITS.messages // 2
    assert world.charged == {}
    delivered = sorted(at for _, at in world.ends.values() if at >= 3605)
    for at, under_way in world.load:
        if at >= delivered[0]:
            assert under_way <= PROBES + sum(1 for end in delivered if end <= at)
    assert world.most_under_way > 8
    assert max(at for _, at in world.ends.values()) < 3605 + 75
