"""The parts that were written for speed do exactly what the slow ones do."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from aiokafka.partitioner import murmur2
from fastavro import parse_schema, schemaless_writer
from hypothesis import example, given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from linkspan.ingress.absent import filler
from linkspan.kernel.avro.writer import compiled
from linkspan.kernel.json_form import plain, struct_type
from linkspan.kernel.topics import partition_of

BLOB = {
    "type": "record",
    "name": "BlobReference",
    "fields": [
        {"name": "address", "type": "string"},
        {"name": "mediaType", "type": ["null", "string"], "default": None},
    ],
}
LINK = {"type": "record", "name": "Link", "fields": [{"name": "kind", "type": "string", "default": "part"}]}
FIELDS: list[tuple[str, Any, Any, st.SearchStrategy[Any]]] = [
    ("text", "string", None, st.text()),
    ("flag", "boolean", None, st.booleans()),
    ("small", "int", None, st.integers(-(2**31), 2**31 - 1)),
    ("large", "long", None, st.integers(-(2**63), 2**63 - 1)),
    ("ratio", "double", None, st.floats(allow_nan=False) | st.integers(-1000, 1000)),
    ("single", "float", None, st.floats(width=32, allow_nan=False)),
    ("kind", {"type": "enum", "name": "Kind", "symbols": ["a", "b"]}, None, st.sampled_from("ab")),
    ("content", ["null", "bytes", BLOB], None, st.none() | st.binary() | st.fixed_dictionaries({"address": st.text()})),
    ("links", {"type": "array", "items": LINK}, None, st.lists(st.fixed_dictionaries({"kind": st.text()}))),
    (
        "more",
        {"type": "map", "values": ["long", "string"]},
        None,
        st.dictionaries(st.text(), st.integers(0, 9) | st.text()),
    ),
    (
        "at",
        {"type": "long", "logicalType": "timestamp-micros"},
        None,
        st.datetimes(min_value=datetime(1600, 1, 1), timezones=st.just(UTC)) | st.integers(0, 2**50),  # noqa: DTZ001
    ),
]
SCHEMA = {"type": "record", "name": "All", "fields": [{"name": name, "type": kind} for name, kind, _, _ in FIELDS]}


@given(st.fixed_dictionaries({name: values for name, _, _, values in FIELDS}))
def test_the_compiled_writer_writes_what_fastavro_writes(datum: dict[str, Any]) -> None:
    write = compiled(SCHEMA)
    assert write
    found, wanted = list[bytes](), io.BytesIO()
    write(found, datum)
    schemaless_writer(wanted, parse_schema(SCHEMA, _force=True), datum)
    assert b"".join(found) == wanted.getvalue()


def test_a_union_of_two_records_is_left_to_fastavro() -> None:
    fields = [{"name": "either", "type": [BLOB, LINK]}]
    assert compiled({"type": "record", "name": "Two", "fields": fields}) is None


@given(st.binary(max_size=80), st.integers(1, 64))
def test_a_key_goes_where_kafkas_own_partitioner_sends_it(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions


@pytest.mark.parametrize(
    "name", ["data_received", "on_message_begin", "on_message_complete", "shutdown", "timeout_keep_alive_handler"]
)
def test_uvicorn_still_has_what_the_short_way_takes_the_place_of(name: str) -> None:
    assert name in vars(HttpToolsProtocol)


@pytest.mark.parametrize("name", ["cycle", "flow", "server_state", "timeout_keep_alive", "timeout_keep_alive_task"])
def test_uvicorn_s_connection_still_has_what_the_short_way_looks_at(name: str) -> None:
    assert name in HttpToolsProtocol.__init__.__code__.co_names


DEFAULTED = {
    "type": "record",
    "name": "Defaulted",
    "fields": [
        {"name": "always", "type": "string"},
        {"name": "note", "type": "string", "default": "none"},
        {"name": "nothing", "type": ["null", "string"], "default": None},
        {"name": "links", "type": {"type": "array", "items": LINK}, "default": []},
        {"name": "best", "type": ["null", LINK], "default": None},
    ],
}


@example({"always": "", "note": 'x":', "links": [{}, {"kind": "part"}]})
@given(
    st.fixed_dictionaries(
        {"always": st.text()},
        optional={
            "note": st.sampled_from(["none", 'x":', "other"]),
            "nothing": st.none() | st.just("note"),
            "links": st.lists(st.sampled_from([{}, {"kind": "part"}, {"kind": "of"}]), max_size=3),
            "best": st.sampled_from([None, {}, {"kind": "of"}]),
        },
    )
)
def test_what_a_sender_left_to_the_schema_is_filled_and_named(sent: dict[str, Any]) -> None:
    fill = filler(DEFAULTED)
    assert fill
    datum = plain(msgspec.json.decode(json.dumps(sent), type=struct_type(DEFAULTED, unset=True)))
    filled: list[str] = []
    fill(datum, "p", filled)
    assert datum == plain(msgspec.json.decode(json.dumps(sent), type=struct_type(DEFAULTED)))
    expected = [f"p.{name}" for name in ("note", "links") if name not in sent]
    expected += [f"p.links[{n}].kind" for n, link in enumerate(sent.get("links", [])) if not link]
    expected += ["p.best.kind"] if sent.get("best") == {} else []
    assert sorted(filled) == sorted(expected)


@pytest.mark.parametrize("schema", ["string", {"type": "array", "items": "int"}])
def test_where_nothing_has_a_default_nothing_is_filled(schema: Any) -> None:
    assert filler(schema) is None
