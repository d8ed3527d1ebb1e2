"""The list of a plan comes back as it was packed, chunk by chunk; what is sent follows from how a record stood."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkspan.kernel.errors import Poison
from linkspan.kernel.records.plan import (
    ALREADY,
    DELIVERED,
    GONE,
    HELD,
    HELD_BACK,
    NEWER_INSIDE,
    NEWER_OUTSIDE,
    OPEN,
    RETENTION,
    SEALED,
    SUPERSEDED,
    UNDECODABLE,
    UNDECRYPTABLE,
    UNREADABLE,
    PlanCodec,
    PlanHead,
    Planned,
    PlanPart,
    ReplayOptions,
    Stood,
    packed,
    unpacked,
    unsent,
)
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas

CODEC = PlanCodec(SchemaCatalog(packaged_schemas()))
STOOD = [
    Stood(standing, newer, parked, open_)
    for standing, newer, parked, open_ in itertools.product(range(6), range(3), (False, True), (False, True))
]
entries = st.lists(
    st.tuples(st.integers(0, 2**40), st.sampled_from(STOOD), st.integers(-1, 300), st.integers(0, 2**32 - 1)),
    unique_by=lambda one: one[0],
    max_size=60,
).map(
    lambda found: [Planned(offset, stood.code, *rest) for offset, stood, *rest in sorted(found, key=lambda one: one[0])]
)


@given(entries, st.integers(1, 20))
def test_a_list_comes_back_as_it_was_packed_in_chunks(listed: list[Planned], size: int) -> None:
    before, found = 0, list[Planned]()
    for at in range(0, len(listed), size):
        chunk = listed[at : at + size]
        found += unpacked(packed(chunk, before), before)
        before = chunk[-1].offset
    assert found == listed
    assert [Stood.of(one.code).code for one in found] == [one.code for one in listed]


@given(entries.filter(bool), st.data())
def test_bytes_that_end_within_an_entry_are_poison_and_no_shorter_list(
    listed: list[Planned], data: st.DataObject
) -> None:
    whole = packed(listed)
    ends = [len(packed(listed[:count])) for count in range(len(listed) + 1)]
    cut = data.draw(st.integers(0, len(whole)).filter(lambda at: at not in ends))
    with pytest.raises(Poison):
        list(unpacked(whole[:cut]))


def test_all_that_a_byte_says_comes_back() -> None:
    assert [Stood.of(one.code) for one in STOOD] == STOOD
    assert len({one.code for one in STOOD}) == len(STOOD)


@pytest.mark.parametrize(
    ("stood", "usual", "force", "all_", "to"),
    [
        (Stood(OPEN), None, None, None, None),
        (Stood(OPEN, NEWER_INSIDE), SUPERSEDED, None, None, None),
        (Stood(OPEN, NEWER_OUTSIDE), SUPERSEDED, SUPERSEDED, None, None),
        (Stood(DELIVERED), ALREADY, None, None, None),
        (Stood(DELIVERED, NEWER_INSIDE), ALREADY, None, None, None),
        (Stood(DELIVERED, NEWER_OUTSIDE), ALREADY, SUPERSEDED, None, None),
        (Stood(HELD, NEWER_OUTSIDE), HELD_BACK, HELD_BACK, HELD_BACK, None),
        (Stood(UNDECODABLE), UNREADABLE, UNREADABLE, UNREADABLE, UNREADABLE),
        (Stood(UNDECRYPTABLE), SEALED, SEALED, SEALED, SEALED),
        (Stood(GONE, NEWER_INSIDE), RETENTION, RETENTION, RETENTION, RETENTION),
    ],
)
def test_what_is_sent_follows_from_how_a_record_stood_and_the_options(
    stood: Stood, usual: str | None, force: str | None, all_: str | None, to: str | None
) -> None:
    options = (
        ReplayOptions(),
        ReplayOptions(force=True),
        ReplayOptions(force=True, allow_superseded=True),
        ReplayOptions(to="staging"),
    )
    for parked, open_ in itertools.product((False, True), repeat=2):
        one = Stood(stood.standing, stood.newer, parked, open_)
        assert tuple(unsent(one, said) for said in options) == (usual, force, all_, to)


@given(st.lists(st.dictionaries(st.sampled_from([one.code for one in STOOD]), st.integers(1, 10**9)), max_size=4))
def test_a_head_comes_back_and_its_dispositions_sum_to_its_records(stood: list[dict[int, int]]) -> None:
    parts = tuple(PlanPart(n, 1, b"digest", 9, 8, said, epoch=3, start=4) for n, said in enumerate(stood))
    head = PlanHead(parts, b"whole", ("1234",), 77, '{"flow": "x"}', "{}")
    assert CODEC.decode_head(CODEC.encode_head(head)) == head
    for options in (ReplayOptions(), ReplayOptions(force=True), ReplayOptions(to="staging")):
        assert sum(head.dispositions(options).values()) == head.records
