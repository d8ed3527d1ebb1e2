"""Which event of the analysis system may be sent next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from linkspan.reference.analysis.lanes import Lanes

STEPS = st.lists(st.sampled_from(["add", "take", "answer", "lose", "late"]), max_size=80)


@given(STEPS, st.randoms(use_true_random=False))
def test_events_of_a_plan_are_answered_in_order_whatever_is_lost_between(steps: list[str], random: object) -> None:
    lanes, number = Lanes(), 0
    plans: dict[int, str] = {}
    sent: list[int] = []
    answered: list[int] = []
    choose = random.choice  # type: ignore[attr-defined]
    for step in [*steps, *["take", "answer"] * 90]:
        if step == "add":
            number += 1
            plans[number] = choose("abc")
            lanes.add(number, plans[number])
        elif step == "take" and (n := lanes.take()) is not None:
            assert all(earlier in answered for earlier in range(1, n) if plans[earlier] == plans[n])
            sent.append(n)
        elif step == "answer" and sent:
            n = sent.pop(choose(range(len(sent))))
            if n not in answered:
                answered.append(n)
            lanes.answered(n)
        elif step == "lose":
            lanes.put_back()
            sent = [n for n in sent if choose([True, False])]  # an answer of the old connection may still come
    for plan in "abc":
        mine = [n for n in answered if plans[n] == plan]
        assert mine == sorted(mine)
    assert sorted(answered) == list(range(1, number + 1))
    assert len(lanes) == 0
