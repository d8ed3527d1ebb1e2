"""What is generated from a schema does what fastavro does, and counts what was written, on any schema and any data."""

import io
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.event_encoder import EventEncoder
from tests.property.test_json_form_property import CATALOG, ID, TIME, fitting, schemas

from linkspan.ingress.absent import Repeated, filler, read_strictly
from linkspan.ingress.errors import Malformed
from linkspan.ingress.flows import flow_intakes
from linkspan.ingress.validate import Origin, Validator, encode
from linkspan.kernel.avro.reader import compiled_reader
from linkspan.kernel.avro.varint import time, unread_time, unread_varint, varint
from linkspan.kernel.avro.writer import compiled, compiled_struct
from linkspan.kernel.codec import Decoder
from linkspan.kernel.errors import Poison
from linkspan.kernel.json_form import JsonForm, _weightless, plain, struct_type
from linkspan.kernel.schemas import expanded
from linkspan.kernel.spec_file import load_integration

ORDERS = Path(__file__).parents[1] / "unit/transform/orders"
#: Defaults as a schema file writes them.
DEFAULTS: list[tuple[Any, list[Any]]] = [
    ("string", ["", "none", 'a ":']),
    ("int", [0, -7]),
    ("double", [0.5]),
    ("boolean", [True]),
    ("bytes", ["\u00ff\u0001"]),
    ({"type": "long", "logicalType": TIME}, [0, 1_000_000]),
    ({"type": "array", "items": "string"}, [[], ["a", "b"]]),
    ({"type": "map", "values": "long"}, [{}, {"a": 5}]),
    (["null", "string"], [None]),
]


@st.composite
def fields(draw: st.DrawFn, depth: int = 1) -> list[dict[str, Any]]:
    """Fields with and without defaults, some of them records, alone, in lists and in maps."""
    made: list[dict[str, Any]] = []
    for index in range(draw(st.integers(0, 3))):
        kind, defaults = draw(st.sampled_from(DEFAULTS))
        made.append({"name": f"d{index}", "type": kind, "default": draw(st.sampled_from(defaults))})
    made += [
        {"name": f"f{index}", "type": kind} for index, kind in enumerate(draw(st.lists(schemas(depth=1), max_size=2)))
    ]
    if depth:
        inner = {"type": "record", "name": f"R{draw(st.uuids()).hex}", "fields": draw(fields(depth=depth - 1))}
        around = [inner, ["null", inner], {"type": "map", "values": inner}]
        if not _weightless(inner):
            around.append({"type": "array", "items": inner})
        around = draw(st.sampled_from(around))
        made.append({"name": "class", "type": around})
    return draw(st.permutations(made))


records = fields().map(lambda made: expanded({"type": "record", "name": "n.R", "fields": made}))


def marks(value: Any) -> int:
    """The quotation marks of a value as JSON that are no part of a text."""
    if isinstance(value, dict):
        return sum(2 + marks(item) for item in value.values())
    if isinstance(value, list):
        return sum(map(marks, value))
    return 2 if isinstance(value, str) else 0


def by_fastavro(schema: Any, datum: Any) -> bytes:
    out = io.BytesIO()
    schemaless_writer(out, parse_schema(without_uuids(schema), _force=True), datum)
    return out.getvalue()


def without_uuids(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: without_uuids(v) for k, v in node.items() if not (k == "logicalType" and v == "uuid")}
    return [without_uuids(item) for item in node] if isinstance(node, list) else node


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_what_a_sender_sends_becomes_the_bytes_of_fastavro_with_its_defaults_named(data: st.DataObject) -> None:
    schema = data.draw(records)
    sent = data.draw(fitting(schema))
    struct = msgspec.json.decode(json.dumps(sent), type=struct_type(schema, unset=True))
    write, fill = compiled_struct(schema, "payload", names=data.draw(st.booleans())), filler(schema)
    assert write
    out, filled, wanted = list[bytes](), list[str](), list[str]()
    counted = write(out, struct, filled)
    datum = plain(struct)
    if fill:
        fill(datum, "payload", wanted)
    assert b"".join(out) == by_fastavro(schema, datum)
    assert sorted(filled) == sorted(wanted)
    assert counted == marks(sent)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_what_is_read_is_what_fastavro_reads(data: st.DataObject) -> None:
    schema = data.draw(records)
    datum = JsonForm(schema, "payload").datum(data.draw(fitting(schema)))
    write = compiled(schema)
    assert write
    out: list[bytes] = []
    write(out, datum)
    body = b"".join(out)
    assert body == by_fastavro(schema, datum)
    decoder = Decoder([[schema | {"namespace": "n"}]])
    version = next(iter(decoder._versions.values()))
    value = b"\0" * 10 + body
    slow = version.read(value)
    quick, rendered = (compiled_reader(schema, rendered=said) for said in (False, True))
    assert quick
    assert rendered
    assert quick(value, 10) == (slow, len(value))
    assert rendered(value, 10) == (version.form.json(slow), len(value))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_bytes_are_read_as_fastavro_reads_them_or_refused_in_its_words(data: st.DataObject) -> None:
    value = bytearray(EVENT)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(10, len(value) - 1))
        value[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    version = DECODER._versions[bytes(value[:10])]

    def outcome(read: Any) -> Any:
        try:
            return read(bytes(value))
        except Poison as poison:
            return poison.reason

    assert outcome(lambda raw: DECODER.decode(raw)[1]) == outcome(version.read)
    assert outcome(DECODER.json) == outcome(lambda raw: version.form.json(version.read(raw)))


@example(2**63 - 1)
@example(-(2**63))
@given(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2**52) | st.integers(-300, 5000))
def test_a_number_is_written_and_read_as_avro_says(number: int) -> None:
    written = varint(number)
    assert written == by_fastavro("long", number) == time(number)
    assert schemaless_reader(io.BytesIO(written), "long", None) == number
    for rest in (b"", b"\xff" * 9):
        assert unread_time(written + rest, 0) == (number, len(written))
    coded, at = unread_varint(written, 1, written[0]) if written[0] > 127 else (written[0], 1)
    assert ((coded >> 1) ^ -(coded & 1), at) == (number, len(written))


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=30))])))
def test_a_time_is_written_as_the_number_that_it_is(moment: datetime) -> None:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    number = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    assert time(moment) == varint(moment) == varint(number)


def test_a_number_of_more_than_64_bits_is_left_to_fastavro() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        unread_varint(b"\xff" * 10 + b"\x01", 1, 0xFF)


INTEGRATION = load_integration(ORDERS / "integration.yaml", {})
VALIDATOR = Validator(flow_intakes(INTEGRATION, CATALOG), CATALOG)
DECODER = Decoder.of_events(CATALOG, "orders", ["OrderPlaced"])
ORDER = expanded(CATALOG.latest("orders", "OrderPlaced").definition)
HEADER = {"messageId": ID, "timestamp": 0, "source": "s", "destination": "d", "messageType": "event"}
HEADER |= {"type": "OrderPlaced", "version": "1.0"}
METADATA = {"correlationId": ID, "priority": "normal", "ttl": 5, "retryCount": 0, "defaulted": ["payload.x"]}
LINES = [{"sku": "s", "count": 70_000}]
PAYLOAD = {"orderId": ID, "total": 2**40, "weight": 1.5, "placedAt": 10**15, "lines": LINES, "tags": {"a": "b"}}
EVENT = (
    EventEncoder(CATALOG, "orders", "OrderPlaced")
    .encode({"header": HEADER, "payload": PAYLOAD, "metadata": METADATA})
    .value
)
odd_texts = st.sampled_from(["", "x", '"', '":', 'a":b', "\\", '\\"', "\\\\", "\u00e4", "\n", "a: b"])


@st.composite
def written(draw: st.DrawFn, value: Any, twice: bool = False) -> str:
    """``value`` as JSON in any style; ``twice``: some objects name a field again."""
    if isinstance(value, dict):
        members = [(name, draw(written(item, twice))) for name, item in value.items()]
        if twice and members and draw(st.booleans()):
            members.append(draw(st.sampled_from(members)))
        gaps = st.sampled_from(["", "", " ", "\n "])
        return "{" + ",".join(f"{draw(texts(name))}{draw(gaps)}:{draw(gaps)}{item}" for name, item in members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(draw(written(item, twice)) for item in value) + "]"
    return draw(texts(value)) if isinstance(value, str) else json.dumps(value)


def texts(value: str) -> st.SearchStrategy[str]:
    escaped = re.sub("[0-9a-f]{4}", r"\\u\g<0>", value.encode("utf-16-be").hex())
    return st.sampled_from([json.dumps(value), json.dumps(value, ensure_ascii=False), f'"{escaped}"'])


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    payload = draw(fitting(ORDER)) | {"tags": draw(st.dictionaries(odd_texts, odd_texts, max_size=3))}
    header: dict[str, Any] = {"type": "OrderPlaced"}
    header |= draw(
        st.fixed_dictionaries({}, optional={"messageId": st.just(ID), "source": st.none(), "version": odd_texts})
    )
    metadata = {
        "ttl": st.none() | st.just(5),
        "priority": st.just("high"),
        "defaulted": st.lists(odd_texts, max_size=2),
    }
    around = {"metadata": st.none() | st.fixed_dictionaries({}, optional=metadata)}
    return draw(st.fixed_dictionaries({"header": st.just(header), "payload": st.just(payload)}, optional=around))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_message_is_refused_exactly_if_a_name_stands_twice_however_it_is_written(data: st.DataObject) -> None:
    raw = data.draw(written(data.draw(messages()), twice=True)).encode()
    try:
        read_strictly(raw)
    except Repeated:
        with pytest.raises(Malformed, match="occurs twice"):
            encode(VALIDATOR.validate(raw, Origin()))
    else:
        assert encode(VALIDATOR.validate(raw, Origin())).value


@given(messages())
@settings(max_examples=100, deadline=None)
def test_an_event_says_what_the_message_said_and_what_was_filled_in(sent: dict[str, Any]) -> None:
    message = VALIDATOR.validate(json.dumps(sent).encode(), Origin(None, ID.upper()))
    event = DECODER.decode(encode(message).value)[1]
    form = JsonForm(ORDER, "payload")
    assert event["payload"] == plain_numbers(form.datum(sent["payload"]))
    said = sent.get("metadata") or {}
    left_out = {f"payload.{item['name']}" for item in ORDER["fields"] if item["name"] not in sent["payload"]}
    left_out -= {"payload.weight", "payload.firstLine", "payload.document"}  # null says nothing
    found = event["metadata"]["defaulted"]
    assert found[: len(said.get("defaulted", []))] == said.get("defaulted", [])
    assert left_out <= set(found)
    assert ("metadata.priority" in found) == ("priority" not in said)
    assert event["metadata"]["priority"] == said.get("priority", "normal")
    assert event["metadata"]["correlationId"] == ID
    assert event["metadata"]["ttl"] == said.get("ttl")
    assert ("header.messageId" in found) == ("messageId" not in sent["header"])
    assert event["header"]["version"] == sent["header"].get("version", "1.0")


def plain_numbers(datum: dict[str, Any]) -> dict[str, Any]:
    """Its time as the event has it: read back from the bytes of fastavro."""
    definition = CATALOG.latest("orders", "OrderPlaced").definition
    out = io.BytesIO(by_fastavro(definition, datum))
    schema = json.loads(json.dumps(without_uuids(definition)).replace(TIME, "none"))
    read: Any = schemaless_reader(out, parse_schema(schema, _force=True), None)
    return dict(read)
