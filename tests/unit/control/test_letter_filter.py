"""Which dead letters a call means, and what it says of a call that means none."""

from dataclasses import replace

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from linkspan.control.errors import BadRequest, NotFound
from linkspan.control.v1.letters_pb2 import LetterFilter
from linkspan.control.views.letter_filter import check, chosen, place
from linkspan.readmodel.letters import Letter

FIRST = Letter("orders", 3, 17, "k", "m-1", "c-1", "rejected", "422: size 12 is not allowed", 1, 5_000_000, 2)
OTHERS = [
    replace(FIRST, offset=18, message_id="m-2", reason="422: size 99 is not allowed", at=6_000_000),
    replace(FIRST, partition=4, key=None, failure="poison", reason="the bytes end too soon"),
]
LETTERS = [FIRST, *OTHERS]


@pytest.mark.parametrize(
    ("wanted", "offsets"),
    [
        (LetterFilter(), [17, 18, 17]),
        (LetterFilter(failure="poison"), [17]),
        (LetterFilter(flow="orders", names=["3:18"]), [18]),
        (LetterFilter(key="k", message_id="m-1"), [17]),
        (LetterFilter(since=Timestamp(seconds=6)), [18]),
        (LetterFilter(until=Timestamp(seconds=6)), [17, 17]),
        (LetterFilter(fingerprint=FIRST.fingerprint), [17, 18]),
        (LetterFilter(key="nobody's"), []),
    ],
)
def test_all_fields_that_are_set_must_fit(wanted: LetterFilter, offsets: list[int]) -> None:
    check(wanted)
    assert [one.offset for one in chosen(LETTERS, wanted)] == offsets


def test_a_name_that_no_letter_has_is_said_rather_than_left_out() -> None:
    with pytest.raises(NotFound, match=r"orders has no such dead letter now: 3:99"):
        chosen(LETTERS, LetterFilter(flow="orders", names=["3:17", "3:99"]))


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (LetterFilter(names=["3:17"]), "filter.flow"),
        (LetterFilter(flow="orders", names=["17"]), "filter.names"),
        (LetterFilter(since=Timestamp(seconds=6), until=Timestamp(seconds=6)), "filter.until"),
    ],
)
def test_a_filter_that_cannot_be_meant_names_its_field(wanted: LetterFilter, field: str) -> None:
    with pytest.raises(BadRequest) as raised:
        check(wanted)
    assert [fault.field for fault in raised.value.faults] == [field]


@pytest.mark.parametrize("name", ["", "3", "3:", ":17", "-3:17", "3:17\n", "3:1e3", "9999999999:1"])
def test_only_partition_and_offset_name_a_letter(name: str) -> None:
    with pytest.raises(BadRequest, match="PARTITION:OFFSET"):
        place(name)


def test_a_fingerprint_leaves_out_what_is_a_letter_s_own() -> None:
    one = replace(FIRST, reason="plan 0190b3a0-7b1e-7c3a-9f00-1234567890ab: 'wall 3' has 4 corners")
    same = replace(FIRST, reason="plan 0190b3a0-7b1e-7c3a-9f00-ffffffffffff: 'roof' has 12 corners")
    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != replace(one, failure="transient").fingerprint
    assert one.fingerprint != FIRST.fingerprint
