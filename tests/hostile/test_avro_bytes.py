"""Whatever bytes lie in a topic, they are decoded or refused as poison, soon, and without filling the memory."""

from __future__ import annotations

import io
import random
import struct
from typing import Any

import pytest
from fastavro import schemaless_writer
from fastavro.utils import generate_one
from hypothesis import given
from hypothesis import strategies as st

from linkspan.kernel.avro.varint import unread_varint, varint
from linkspan.kernel.codec import PREFIX, Decoder, RecordCodec
from linkspan.kernel.errors import Poison, UserMistake
from linkspan.kernel.json_form import struct_type
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas
from tests.hostile.budget import budget
from tests.hostile.memory import peak_of

CATALOG = SchemaCatalog(packaged_schemas())
TYPES = [name for folder, name in CATALOG.parts() if folder == "plans"]
FAMILIES = [
    [variant for part in CATALOG.versions("linkspan", name) for variant in part.variants]
    for folder, name in CATALOG.parts()
    if folder == "linkspan"
]
DECODER = Decoder(FAMILIES + [[event.definition for event in CATALOG.events("plans", name)] for name in TYPES])
OUTCOMES = RecordCodec(CATALOG, "Outcome")


def records() -> list[bytes]:
    """One of every version of every record, filled by fastavro, which draws from the one source of this process.

    That is left as it was: else every worker of a test run would choose the same "random" ports as the others.
    """
    before = random.getstate()
    random.seed(1)
    made = []
    for prefix, version in DECODER._versions.items():
        out = io.BytesIO()
        schemaless_writer(out, version._writer, generate_one(version._writer))
        made.append(prefix + out.getvalue())
    random.setstate(before)
    return made


RECORDS = records()
#: What a length, a count, an index or a text can be made of to hurt.
NASTY = st.sampled_from(
    [
        varint(2**62),
        varint(-(2**62)),
        varint(-1),
        varint(-(2**63)),
        varint(2**31),
        b"\x80" * 9 + b"\x01",
        b"\xff" * 9 + b"\x7f",
        b"\xff" * 40,
        b"\x80" * 400,
        b"\xed\xa0\x80",
        b"\xff\xfe",
        b"\x00" * 40,
        struct.pack("<d", float("nan")),
        struct.pack("<d", float("inf")),
    ]
)
BODIES = st.lists(NASTY | st.binary(max_size=40) | st.integers(-70, 70).map(varint), max_size=30).map(b"".join)
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6), NASTY | st.binary(max_size=6)), min_size=1, max_size=4)


def decoded_or_poison(value: bytes) -> None:
    for read in (DECODER.decode, DECODER.json):
        try:
            read(value)
        except Poison as refused:
            if "\n" in refused.reason:
                raise AssertionError("a reason is one line") from refused


def changed(value: bytes, changes: list[tuple[float, int, bytes]]) -> bytes:
    for place, cut, put in changes:
        at = PREFIX + int(place * (len(value) - PREFIX))
        value = value[:at] + put + value[at + cut :]
    return value


@pytest.mark.parametrize("value", RECORDS, ids=[DECODER._versions[value[:PREFIX]].name for value in RECORDS])
def test_the_corpus_is_of_real_records(value: bytes) -> None:
    assert DECODER.decode(value)


@budget(400)
@given(st.sampled_from(RECORDS), CHANGES)
def test_a_damaged_record_is_decoded_or_poison(value: bytes, changes: list[tuple[float, int, bytes]]) -> None:
    decoded_or_poison(changed(value, changes))


@budget(200)
@given(st.sampled_from(sorted(DECODER.prefixes)), BODIES)
def test_any_bytes_behind_a_known_fingerprint_are_decoded_or_poison(prefix: bytes, body: bytes) -> None:
    decoded_or_poison(prefix + body)


@budget(100)
@given(st.none() | st.binary(max_size=80))
def test_any_bytes_without_a_known_fingerprint_are_poison(value: bytes | None) -> None:
    with pytest.raises(Poison):
        DECODER.decode(value)


@pytest.mark.parametrize("body", [b"\xff" * 100_000, b"\x80" * 100_000, b"\x00" * 100_000], ids=["ff", "80", "00"])
def test_a_number_without_end_costs_no_more_than_its_ten_bytes(body: bytes) -> None:
    """300,000 such bytes took 41 s once: the square of their number. pytest's time-out is the judge."""
    for prefix in DECODER.prefixes:
        decoded_or_poison(prefix + body)


def test_a_number_of_more_than_64_bits_is_refused_after_ten_bytes() -> None:
    for more in (b"\xff" * 9 + b"\x7f", b"\x80" * 10 + b"\x01", b"\xff" * 1000):
        with pytest.raises(ValueError, match="more than 64 bits"):
            unread_varint(more, 0, 0xFF)
    assert unread_varint(b"\xff" * 8 + b"\x01", 0, 0xFF) == (2**64 - 1, 9)


@pytest.mark.parametrize("length", [2**62, -(2**62), 2**40, -1])
def test_a_length_or_count_beyond_the_bytes_takes_no_memory(length: int) -> None:
    assert peak_of(__name__, "decode_everywhere", str(length)) < 64 << 20


def decode_everywhere(length: str) -> None:
    for prefix in DECODER.prefixes:
        for head in range(8):
            decoded_or_poison(prefix + b"\x02" * head + varint(int(length)) + b"\x02" * 64)


EMPTY = {"type": "record", "name": "E", "fields": []}
NULLS = {"type": "record", "name": "E", "fields": [{"name": "x", "type": "null"}]}


@pytest.mark.parametrize("items", ["null", EMPTY, NULLS], ids=["null", "no fields", "null fields"])
def test_no_schema_has_items_that_take_no_bytes(items: Any) -> None:
    """Ten bytes could claim 2^60 of them, and fastavro would make them all."""
    fields = [{"name": "a", "type": {"type": "array", "items": items}}]
    with pytest.raises(UserMistake, match="the items of a list take no bytes"):
        struct_type({"type": "record", "name": "n.R", "fields": fields})


def test_the_codec_of_a_record_of_ours_refuses_another_record() -> None:
    others = [value for value in RECORDS if not DECODER._versions[value[:PREFIX]].name.endswith("Outcome")]
    assert others
    for value in others:
        with pytest.raises(Poison, match="no released schema has the fingerprint"):
            OUTCOMES.decode(value)
