"""Events are Avro single-object encodings; whatever a released version wrote is read into the newest."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form
from tests.event_encoder import EventEncoder

from linkspan.kernel.codec import Decoder, OutcomeCodec
from linkspan.kernel.errors import Poison, UserMistake
from linkspan.kernel.json_form import JsonForm
from linkspan.kernel.schemas import SchemaCatalog, expanded, packaged_schemas, schema_fingerprint

ID = "0190b3a0-7b1e-7c3a-9f00-1234567890ab"
HEADER = {"messageId": ID, "timestamp": 0, "source": "a", "destination": "b", "messageType": "event", "type": "Order"}
HEADER |= {"version": "1.0"}
METADATA = {"correlationId": ID, "priority": "normal", "ttl": None, "retryCount": 0, "defaulted": []}


def crc64(data: bytes) -> int:
    """CRC-64-AVRO as the Avro specification writes it, apart from the library."""
    empty = 0xC15D213AA4D7A795
    table = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = (value >> 1) ^ (empty if value & 1 else 0)
        table.append(value)
    result = empty
    for byte in data:
        result = (result >> 8) ^ table[(result ^ byte) & 0xFF]
    return result


def write(root: Path, name: str, version: int, *fields: dict[str, Any], folder: str = "orders") -> None:
    namespace = folder if folder == "linkspan" else f"{folder}.payload"
    path = root / folder / f"{name}.{version}.avsc"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps({"type": "record", "namespace": namespace, "name": name, "fields": list(fields)}))


def catalog(root: Path) -> SchemaCatalog:
    return SchemaCatalog(packaged_schemas(), root)


def event(**payload: Any) -> dict[str, Any]:
    return {"header": HEADER, "payload": payload, "metadata": METADATA}


def test_a_fingerprint_is_the_specification_s() -> None:
    assert crc64(b'"null"') == 0x63DD24E7CC258F8A
    assert schema_fingerprint("null") == bytes.fromhex("63dd24e7cc258f8a")[::-1]  # type: ignore[arg-type]


def test_an_event_begins_with_the_marker_and_its_schema_s_fingerprint(tmp_path: Path) -> None:
    write(tmp_path, "Order", 1, {"name": "n", "type": "int"})
    encoder = EventEncoder(catalog(tmp_path), "orders", "Order")
    value = encoder.encode(event(n=-64)).value
    canonical = to_parsing_canonical_form(encoder.schema.definition)
    assert value[:2] == b"\xc3\x01"
    assert int.from_bytes(value[2:10], "little") == crc64(canonical.encode())
    assert fingerprint(canonical, "CRC-64-AVRO") == value[2:10].hex()
    header = bytes([72]) + ID.encode() + b"\x00" + b"\x02a" + b"\x02b" + b"\x04" + b"\x0aOrder" + b"\x061.0"
    metadata = bytes([72]) + ID.encode() + b"\x02" + b"\x00" + b"\x00" + b"\x00"
    assert value[10:] == header + b"\x7f" + metadata


def test_an_event_of_an_old_version_is_read_into_the_newest(tmp_path: Path) -> None:
    write(tmp_path, "Order", 1, {"name": "n", "type": "int"})
    old = EventEncoder(catalog(tmp_path), "orders", "Order").encode(event(n=5))
    write(tmp_path, "Order", 2, {"name": "n", "type": "long"}, {"name": "floor", "type": "string", "default": "ground"})
    decoder = Decoder.of_events(catalog(tmp_path), "orders", ["Order"])
    name, datum = decoder.decode(old.value)
    assert name == "orders.Order"
    assert datum["payload"] == {"n": 5, "floor": "ground"}
    new = EventEncoder(catalog(tmp_path), "orders", "Order").encode(event(n=2**40, floor="first"))
    assert decoder.decode(new.value)[1]["payload"] == {"n": 2**40, "floor": "first"}


def test_events_stay_readable_when_a_common_record_gets_a_version(tmp_path: Path) -> None:
    part = {"name": "size", "type": "linkspan.Size"}
    write(tmp_path, "Size", 1, {"name": "w", "type": "int"}, folder="linkspan")
    write(tmp_path, "Order", 1, part, {"name": "again", "type": "linkspan.Size"})
    old = EventEncoder(catalog(tmp_path), "orders", "Order").encode(event(size={"w": 1}, again={"w": 2}))
    write(
        tmp_path, "Size", 2, {"name": "w", "type": "int"}, {"name": "h", "type": "int", "default": 9}, folder="linkspan"
    )
    after = catalog(tmp_path)
    assert len(after.events("orders", "Order")) == 2
    _, datum = Decoder.of_events(after, "orders", ["Order"]).decode(old.value)
    assert datum["payload"] == {"size": {"w": 1, "h": 9}, "again": {"w": 2, "h": 9}}


def test_a_common_record_in_two_parts_is_defined_once(tmp_path: Path) -> None:
    write(tmp_path, "Order", 1, {"name": "about", "type": "linkspan.Header"})
    encoded = EventEncoder(catalog(tmp_path), "orders", "Order").encode(event(about=HEADER))
    assert (
        Decoder.of_events(catalog(tmp_path), "orders", ["Order"]).decode(encoded.value)[1]["payload"]["about"] == HEADER
    )


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda _: None, "not an Avro single-object encoding"),
        (lambda _: b"{}", "not an Avro single-object encoding"),
        (lambda value: value[:9], "not an Avro single-object encoding"),
        (lambda value: value[:2] + b"12345678" + value[10:], "no released schema has the fingerprint 3132333435363738"),
        (lambda value: value[:-3], "the bytes do not fit the schema orders.Order: "),
        (lambda value: value + b"\x00", "1 bytes follow after the record orders.Order"),
    ],
)
def test_damaged_bytes_are_poison_with_a_reason(tmp_path: Path, damage: Any, said: str) -> None:
    write(tmp_path, "Order", 1, {"name": "n", "type": "int"})
    value = EventEncoder(catalog(tmp_path), "orders", "Order").encode(event(n=1)).value
    decoder = Decoder.of_events(catalog(tmp_path), "orders", ["Order"])
    with pytest.raises(Poison) as raised:
        decoder.decode(damage(value))
    assert said in raised.value.reason


def test_the_same_payload_has_the_same_digest_whatever_is_around_it(tmp_path: Path) -> None:
    write(tmp_path, "Order", 1, {"name": "n", "type": "int"})
    encoder = EventEncoder(catalog(tmp_path), "orders", "Order")
    one, other = event(n=1), event(n=1) | {"metadata": METADATA | {"retryCount": 7}}
    assert encoder.encode(one).digest == encoder.encode(other).digest != encoder.encode(event(n=2)).digest


def test_an_outcome_is_read_as_it_was_written() -> None:
    codec = OutcomeCodec(SchemaCatalog(packaged_schemas()))
    read = codec.decode(codec.encode({"kind": "delivered", "offset": 7, "at": 1_700_000_000_000_000, "messageId": ID}))
    assert (read["kind"], read["offset"], read["at"], read["messageId"]) == ("delivered", 7, 1_700_000_000_000_000, ID)


def test_defaults_of_every_kind_come_out_as_the_schema_means_them() -> None:
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "p", "type": "int", "default": 3}]}
    fields = [
        {"name": "list", "type": {"type": "array", "items": "int"}, "default": [1, 2]},
        {"name": "map", "type": {"type": "map", "values": "int"}, "default": {"a": 5}},
        {"name": "record", "type": inner, "default": {}},
        {"name": "other", "type": "Inner", "default": {"p": 4}},
        {"name": "bytes", "type": "bytes", "default": "\u00ff\u0001"},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}, "default": 1_000_000},
    ]
    form = JsonForm({"type": "record", "name": "R", "namespace": "n", "fields": fields}, "payload")
    datum = form.datum({})
    assert form.json(datum) == {
        "list": [1, 2],
        "map": {"a": 5},
        "record": {"p": 3},
        "other": {"p": 4},
        "bytes": b"\xff\x01",
        "time": "1970-01-01T00:00:01Z",
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([{"name": "a", "type": ["bytes", "string"]}], "a union may hold one type that JSON writes as text"),
        (
            [{"name": "a", "type": [{"type": "record", "name": n, "fields": []} for n in ("X", "Y")]}],
            "a union may hold one record or one map",
        ),
        ([{"name": "a", "type": {"type": "fixed", "name": "F", "size": 4}}], "cannot use the Avro type 'fixed'"),
        ([{"name": "a", "type": {"type": "array", "items": "R"}}], "the record n.R contains itself"),
        ([{"name": "a", "type": "Missing"}], "uses the type n.Missing, which is not defined before"),
        ([{"name": "a", "type": "int", "default": "x"}], "a schema's default does not fit its type"),
    ],
)
def test_a_schema_that_messages_cannot_use_is_refused_at_once(fields: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(UserMistake, match=said):
        JsonForm({"type": "record", "name": "R", "namespace": "n", "fields": fields}, "payload")


def test_a_time_that_no_calendar_has_is_poison() -> None:
    fields = [{"name": "t", "type": {"type": "long", "logicalType": "timestamp-micros"}}]
    form = JsonForm({"type": "record", "name": "R", "fields": fields}, "payload")
    with pytest.raises(Poison, match="beyond the years 1 to 9999"):
        form.json({"t": 2**62})


def test_named_types_are_written_out_with_their_namespaces() -> None:
    inner = {"type": "enum", "name": "E", "symbols": ["a"]}
    schema = {"type": "record", "name": "n.R", "fields": [{"name": "a", "type": inner}, {"name": "b", "type": "E"}]}
    a, b = (item["type"] for item in expanded(schema)["fields"])
    assert a == b == inner | {"namespace": "n"}
