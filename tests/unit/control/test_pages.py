"""Pages of an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkspan.control.errors import BadRequest
from linkspan.control.pages import page_size, place_of, token_of
from linkspan.control.views.times import duration, micros_of, timestamp

PLACES = st.tuples(st.text(), st.integers(0, 2**31), st.integers(0, 2**53))


@given(PLACES)
def test_a_token_gives_its_place_back(place: tuple[str, int, int]) -> None:
    assert place_of(token_of(*place), tuple[str, int, int]) == place


@pytest.mark.parametrize("token", ["x", "bm90IGpzb24", token_of("orders"), token_of(1, 2, 3), "ü", "===="])
def test_a_token_that_nobody_gave_names_its_field(token: str) -> None:
    with pytest.raises(BadRequest) as raised:
        place_of(token, tuple[str, int, int])
    assert raised.value.faults[0].field == "page_token"


def test_no_token_is_the_first_page() -> None:
    assert place_of("", tuple[str, int, int]) is None


@pytest.mark.parametrize(("asked", "given_"), [(0, 100), (1, 1), (1_000, 1_000), (5_000, 1_000)])
def test_a_page_has_a_usual_size_and_a_largest(asked: int, given_: int) -> None:
    assert page_size(asked) == given_


def test_a_size_below_nothing_is_refused() -> None:
    with pytest.raises(BadRequest, match="page_size: expected 1 to 1000"):
        page_size(-1)


@given(st.integers(0, 2**52))
def test_times_keep_their_microseconds(micros: int) -> None:
    made = timestamp(micros)
    assert made is not None
    assert micros_of(made) == micros


@given(st.integers(-(2**52), 2**52))
def test_durations_keep_their_microseconds_and_sign(micros: int) -> None:
    made = duration(micros)
    assert made is not None
    assert made.ToMicroseconds() == micros
