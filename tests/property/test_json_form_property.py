"""The fast check and the list of faults agree on every value; what is accepted survives its encoding."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.event_encoder import EventEncoder

from linkspan.kernel.codec import Decoder
from linkspan.kernel.errors import InvalidMessage
from linkspan.kernel.evolution.proof import samples, unread
from linkspan.kernel.evolution.resolve import unreadable
from linkspan.kernel.faults import faults
from linkspan.kernel.json_form import JsonForm, _weightless, iso
from linkspan.kernel.schemas import SchemaCatalog, expanded, packaged_schemas
from linkspan.transform.values import ValueTables

ORDERS = Path(__file__).parents[1] / "unit/transform/orders/schemas"
CATALOG = SchemaCatalog(packaged_schemas(), ORDERS)
ORDER = CATALOG.latest("orders", "OrderPlaced").definition
ID = "0190b3a0-7b1e-7c3a-9f00-1234567890ab"
TIME = "timestamp-micros"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
#: Microseconds from the year 1 to 9999.
times = st.integers(-62135596800 * 10**6, 253402300799 * 10**6).map(iso)
uuids = st.uuids().map(str)
encoded = st.binary(max_size=12).map(lambda data: base64.b64encode(data).decode())
#: Values that JSON can hold, among them those near the edges of each type.
NUMBERS = (0, -1, 2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, 2**63, 10**400, 1.0, 1e308, 3.5e38)
TEXTS = ("", "x", "open", ID, ID + "\n", ID.upper(), "YQ==", "YQ", "YQ==\n", "Y Q==", "-_8=")
MOMENTS = (
    "12:00:00Z",
    "12:00Z",
    "12:00:00",
    "24:00:00Z",
    "12:00:00+01",
    "12:00:00+0100",
    "12:00:00,5Z",
    "12:00:00.1234567Z",
)
DAYS = ("2026-01-31", "20260131T120000Z", "2026-01-31t12:00:00z", "2026-02-30T12:00:00Z", "2026-W01-1T00:00:00Z")
odd = st.sampled_from(
    [None, True, *NUMBERS, *TEXTS, *DAYS, *(f"2026-01-31T{time}" for time in MOMENTS), [], {}, [1], {"a": 1}, [[]]]
)


def fitting(schema: Any) -> st.SearchStrategy[Any]:
    """JSON that fits an (expanded) schema."""
    if isinstance(schema, list):
        return st.one_of(*(fitting(branch) for branch in schema if not _is_reference(branch)))
    kind = schema["type"] if isinstance(schema, dict) else schema
    match kind:
        case "record":
            needed = {item["name"]: fitting(item["type"]) for item in schema["fields"] if "default" not in item}
            other = {item["name"]: fitting(item["type"]) for item in schema["fields"] if "default" in item}
            return st.fixed_dictionaries(needed, optional=other)
        case "array":
            return st.lists(fitting(schema["items"]), max_size=3)
        case "map":
            return st.dictionaries(texts, fitting(schema["values"]), max_size=3)
        case "enum":
            return st.sampled_from(schema["symbols"])
        case "string":
            return uuids if isinstance(schema, dict) and schema.get("logicalType") == "uuid" else texts
        case "long" if isinstance(schema, dict) and schema.get("logicalType") == TIME:
            return times
        case _:
            return LEAVES[kind]


LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-1000, 1000),
    "bytes": encoded,
}
leaf_schemas = st.sampled_from(
    [*LEAVES, "string", {"type": "string", "logicalType": "uuid"}, {"type": "long", "logicalType": TIME}]
)


@st.composite
def schemas(draw: st.DrawFn, depth: int = 2) -> Any:
    """Schemas of what a message may hold: unions are null and one other."""
    if depth == 0:
        return draw(leaf_schemas)
    inner = schemas(depth=depth - 1)
    match draw(st.sampled_from(["leaf", "leaf", "union", "array", "map", "enum", "record"])):
        case "union":
            other = draw(inner)
            return other if isinstance(other, list) or other == "null" else ["null", other]
        case "array":
            return {"type": "array", "items": draw(inner.filter(lambda items: not _weightless(items)))}
        case "map":
            return {"type": "map", "values": draw(inner)}
        case "enum":
            return {"type": "enum", "name": draw(type_names), "symbols": ["open", "paid"]}
        case "record":
            kinds = draw(st.lists(inner, max_size=3))
            fields = [{"name": f"f{index}", "type": kind} for index, kind in enumerate(kinds)]
            return {"type": "record", "name": draw(type_names), "fields": fields}
        case _:
            return draw(leaf_schemas)


#: Every named type has a name of its own.
type_names = st.uuids().map(lambda u: f"T{u.hex}")


def _is_reference(branch: Any) -> bool:
    return isinstance(branch, dict) and branch.get("name") == "BlobReference"


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """``value`` with one part somewhere exchanged, taken away or added."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        return value | {name: draw(mutated(value[name]))}
    if isinstance(value, list) and value and draw(st.booleans()):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], draw(mutated(value[index])), *value[index + 1 :]]
    if isinstance(value, dict) and draw(st.booleans()):
        kept = {name: item for name, item in value.items() if draw(st.booleans())}
        return kept | ({draw(texts): draw(odd)} if draw(st.booleans()) else {})
    return draw(odd)


def agrees(form: JsonForm, definition: Any, value: Any) -> None:
    try:
        form.datum(value)
        accepted = True
    except InvalidMessage:
        accepted = False
    found = list(faults(definition, value, "payload"))
    assert accepted == (not found), (value, found)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_the_fast_check_and_the_faults_agree_on_any_schema(data: st.DataObject) -> None:
    schema = {"type": "record", "name": "R", "namespace": "n", "fields": [{"name": "x", "type": data.draw(schemas())}]}
    definition = expanded(schema)
    form = JsonForm(schema, "payload")
    value = data.draw(fitting(definition))
    form.datum(value)
    agrees(form, definition, data.draw(mutated(value)))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_the_fast_check_and_the_faults_agree_on_an_order(data: st.DataObject) -> None:
    value = data.draw(fitting(expanded(ORDER)))
    form = JsonForm(ORDER, "payload")
    form.datum(value)
    agrees(form, expanded(ORDER), data.draw(mutated(value)))


@given(fitting(expanded(ORDER)))
@settings(max_examples=100, deadline=None)
def test_what_is_accepted_comes_out_of_its_event_as_it_went_in(value: dict[str, Any]) -> None:
    form, encoder = JsonForm(ORDER, "payload"), EventEncoder(CATALOG, "orders", "OrderPlaced")
    header = {"messageId": ID, "timestamp": 0, "source": "s", "destination": "d", "messageType": "event"}
    header |= {"type": "OrderPlaced", "version": "1.0"}
    metadata = {"correlationId": ID, "priority": "normal", "ttl": None, "retryCount": 0, "defaulted": []}
    datum = form.datum(value)
    event = encoder.encode({"header": header, "payload": datum, "metadata": metadata})
    _, read = DECODER.decode(event.value)
    again = msgspec.to_builtins(form.json(read["payload"]))
    for name, sent in value.items():
        if name == "lines" or (name == "firstLine" and sent is not None):
            continue
        assert again[name] == sent
    assert form.datum(again) == datum


DECODER = Decoder.of_events(CATALOG, "orders", ["OrderPlaced"])


@given(st.dictionaries(texts, texts))
def test_a_table_that_is_one_to_one_goes_both_ways(table: dict[str, str]) -> None:
    back = {value: key for key, value in table.items()}
    tables = ValueTables({"t": {key: value for value, key in back.items()}})
    for value, key in back.items():
        assert tables.value("t", key) == value
        assert tables.key("t", value) == key


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_where_the_rules_see_no_fault_the_data_is_read(data: st.DataObject) -> None:
    one, other = (
        {"type": "record", "name": "n.R", "fields": [{"name": "x", "type": data.draw(schemas(depth=1))}]} for _ in "ab"
    )
    if not unreadable(one, other, "payload"):
        assert unread(one, other) is None


@given(schemas())
@settings(max_examples=60, deadline=None)
def test_a_schema_reads_its_own_samples(kind: Any) -> None:
    schema = {"type": "record", "name": "n.R", "fields": [{"name": "x", "type": kind}]}
    assert unreadable(schema, schema, "payload") == []
    assert unread(schema, schema) is None
    assert len(list(samples(schema, 3))) == 3


@given(st.integers(-(10**15), 10**15))
def test_times_are_kept_to_the_microsecond(micros: int) -> None:
    fields = [{"name": "t", "type": {"type": "long", "logicalType": TIME}}]
    form = JsonForm({"type": "record", "name": "R", "fields": fields}, "payload")
    moment = form.datum(form.json({"t": micros}))["t"]
    assert (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1) == micros
