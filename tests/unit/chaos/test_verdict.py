"""The judge of the chaos run sees what it is there to see."""

from __future__ import annotations

from typing import Any

from tests.chaos.senders import Accepted
from tests.chaos.verdict import Fault, Verdict, judged


def accepted(line: int, *, unwanted: bool = False) -> Accepted:
    return Accepted(f"m{line}", "orders", "k", line, unwanted, 1, 0.0)


def arrival(line: int, at: float, *, mark: bool = False, how: str = "fine", **more: Any) -> dict[str, Any]:
    took = how in {"fine", "silence", "cut"}
    said = {"id": f"m{line}", "key": "k", "line": line, "sequence": line, "at": at, "mark": mark, "unwanted": False}
    return said | {"how": how, "took": took} | more


def of(*arrivals: dict[str, Any], faults: tuple[Fault, ...] = (), messages: int = 3) -> Verdict:
    return judged([accepted(line) for line in range(messages)], list(arrivals), list(faults), after=5)


IN_ORDER = [arrival(0, 100), arrival(1, 101), arrival(2, 102)]
KILL = Fault("kill -9", "egress", 101.5, 103)


def test_a_run_without_fault_is_clean() -> None:
    verdict = of(*IN_ORDER)
    assert not verdict.wrong()
    assert (verdict.messages, verdict.arrivals, verdict.repeated) == (3, 3, 0)


def test_a_message_that_never_arrived_is_lost() -> None:
    assert [one.line for one in of(*IN_ORDER[:2]).lost] == [2]


def test_one_that_was_only_ever_refused_is_lost() -> None:
    assert [one.line for one in of(*IN_ORDER[:2], arrival(2, 102, how="503")).lost] == [2]


def test_a_later_message_before_an_earlier_one_is_out_of_order() -> None:
    assert [one["line"] for one in of(IN_ORDER[0], IN_ORDER[2], IN_ORDER[1]).behind] == [1]


def test_so_is_a_repeat_after_a_newer_one() -> None:
    assert of(*IN_ORDER, arrival(1, 103, mark=True), faults=(KILL,)).behind


def test_a_marked_repeat_of_what_a_fault_cut_off_is_allowed_and_an_unmarked_one_is_not() -> None:
    assert not of(*IN_ORDER, arrival(2, 104, mark=True), faults=(KILL,)).wrong()
    assert of(*IN_ORDER, arrival(2, 104), faults=(KILL,)).wrong().keys() == {"unmarked"}


def test_a_repeat_without_a_fault_near_is_unexplained_even_if_marked() -> None:
    assert of(*IN_ORDER, arrival(2, 104, mark=True)).wrong().keys() == {"unexplained"}
    assert of(*IN_ORDER, arrival(2, 150, mark=True), faults=(Fault("x", "y", 160, 170),)).unexplained


def test_a_repeat_is_explained_by_a_receiver_that_stood_still_just_then() -> None:
    repeat = [*IN_ORDER, arrival(2, 104, mark=True)]

    def unexplained(begun: float, ended: float) -> bool:
        sent = [accepted(line) for line in range(3)]
        return bool(judged(sent, repeat, [], 5, stalls=[(begun, ended)]).unexplained)

    assert not unexplained(101.9, 103)
    assert unexplained(98, 100)
    assert unexplained(104.5, 106)


def test_what_was_refused_and_comes_again_is_no_repeat_and_what_was_kept_without_an_answer_is() -> None:
    assert of(arrival(0, 99, how="500"), *IN_ORDER).repeated == 0
    assert of(arrival(0, 99, how="cut"), arrival(0, 100, mark=True), *IN_ORDER[1:]).repeated == 1


def test_one_that_its_sender_sent_twice_is_to_be_delivered_once() -> None:
    verdict = of(*IN_ORDER, arrival(1, 103, sequence=7))
    assert verdict.repeated == 0
    assert verdict.wrong().keys() == {"delivered for each acceptance"}


def refusal(line: int, at: float) -> dict[str, Any]:
    return arrival(line, at, unwanted=True, took=False)


def held(*arrivals: dict[str, Any], given_up: dict[str, float] | None = None) -> Verdict:
    """The second message is an unwanted one, and holds its key."""
    sent = [accepted(0), accepted(1, unwanted=True), accepted(2)]
    return judged(sent, list(arrivals), [], 5, given_up or {})


def test_a_held_message_is_lost_unless_it_is_taken_later_or_given_up() -> None:
    taken = [IN_ORDER[0], refusal(1, 101), arrival(1, 110, unwanted=True), arrival(2, 111)]
    assert not held(*taken).wrong()
    assert held(*taken).taken == 3
    given_up = [IN_ORDER[0], refusal(1, 101), arrival(2, 111)]
    assert not held(*given_up, given_up={"m1": 105}).wrong()
    assert held(*given_up[:2]).wrong().keys() == {"lost"}
    assert "lost" in held(IN_ORDER[0], IN_ORDER[2], given_up={"m1": 50}).wrong(), "it was never tried"


def test_what_comes_while_an_earlier_message_is_held_is_ahead_even_if_it_is_not_taken() -> None:
    start = [IN_ORDER[0], refusal(1, 101)]
    early = held(*start, arrival(2, 102), arrival(1, 110, unwanted=True))
    assert early.wrong().keys() == {"out of order", "ahead of a held one"}
    assert held(*start, arrival(2, 102), given_up={"m1": 105}).wrong().keys() == {"ahead of a held one"}
    asked = held(*start, arrival(2, 102, how="busy"), arrival(2, 111), given_up={"m1": 105})
    assert asked.wrong().keys() == {"ahead of a held one"}


def test_where_letters_hold_nothing_a_redriven_one_may_come_at_any_time_and_twice_if_it_was_accepted_twice() -> None:
    sent = [accepted(0), accepted(1, unwanted=True), accepted(2)]
    again = [arrival(1, 110, unwanted=True), arrival(1, 111, unwanted=True, sequence=9)]
    verdict = judged(sent, [IN_ORDER[0], refusal(1, 101), IN_ORDER[2], *again], [], 5)
    assert not verdict.wrong()
    assert verdict.taken == 4
