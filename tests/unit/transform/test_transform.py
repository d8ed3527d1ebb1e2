"""A transform gives what the destination is promised, or says in a line why it cannot."""

import base64
import time
from typing import Any

import pytest
from tests.unit.transform.sample import ID, Make, message

from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.errors import Poison
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for
from linkspan.transform import InvalidTransform, Transform
from linkspan.transform.jsonata import Expression
from linkspan.transform.values import Unmapped, ValueTables


def test_the_flow_s_own_steps_give_what_its_schema_promises(orders: Integration, blobs: BlobStore) -> None:
    transform = Transform(orders, "order-placed", catalog_for(orders), blobs)
    assert transform.is_sync
    assert transform.type == "ShipmentOrder"
    assert transform.apply_now(message(document=b"\x00\xff")) == {
        "id": ID,
        "state": "READY",
        "items": [{"article": "A-1", "quantity": 2}],
        "urgent": False,
        "document": base64.b64encode(b"\x00\xff").decode(),
    }


def test_defaults_of_the_schema_are_filled_in(make: Make) -> None:
    made = make('{"id": orderId, "state": "x"}').apply_now(message())
    assert made == {"id": ID, "state": "x", "items": [], "urgent": False, "document": None}


def test_the_rest_of_the_message_is_at_hand(make: Make) -> None:
    made = make('{"id": $header.messageId & "/" & $metadata.priority, "state": $header.source}').apply_now(message())
    assert made is not None
    assert (made["id"], made["state"]) == (f"{ID}/normal", "shop")


async def test_content_elsewhere_is_fetched_before_an_expression(make: Make, blobs: BlobStore) -> None:
    content = b"large" * 1000
    given = message(document=await blobs.put(content, "text/plain"))
    transform = make('{"id": orderId, "state": "x", "document": document}')
    assert transform.apply_now(given) is None
    assert (await transform.apply(given))["document"] == base64.b64encode(content).decode()
    assert given["payload"]["document"]["size"] == len(content)


async def test_content_that_is_gone_makes_poison(make: Make) -> None:
    reference = {"address": "ab/abc", "digest": "abc", "size": 3, "mediaType": None}
    with pytest.raises(Poison, match="blob ab/abc is not in the store"):
        await make('{"id": orderId, "state": "x"}').apply(message(document=reference))


async def test_without_steps_the_payload_passes_with_its_content(make: Make, blobs: BlobStore) -> None:
    transform = make(delivers="OrderPlaced")
    given = message(document=b"abc", total=2**60)
    assert transform.apply_now(given) == given["payload"] | {"document": "YWJj"}
    elsewhere = message(document=await blobs.put(b"abc"))
    assert (await transform.apply(elsewhere))["document"] == "YWJj"


def test_expressions_follow_each_other(make: Make) -> None:
    made = make('{"n": total + 1, "o": orderId}', '{"id": o, "state": $string(n)}').apply_now(message())
    assert made is not None
    assert made["state"] == "1201"


def test_an_unmapped_value_is_a_mapping_error_that_names_it(make: Make) -> None:
    transform = make('{"id": orderId, "state": $value("state", tags.state)}')
    with pytest.raises(Poison) as raised:
        transform.apply_now(message(tags={"state": "lost"}))
    assert raised.value.reason == (
        "the transform failed: value table state has nothing for 'lost'; it knows open, paid, sent"
    )
    with pytest.raises(Poison, match="value table state has nothing for an absent or null value"):
        transform.apply_now(message())


def test_values_are_mapped_back(make: Make) -> None:
    made = make('{"id": orderId, "state": $key("state", "GONE")}').apply_now(message())
    assert made is not None
    assert made["state"] == "sent"


def test_what_does_not_fit_is_said_for_every_field(make: Make) -> None:
    with pytest.raises(Poison) as raised:
        make('{"state": 5, "items": [lines.{"article": sku}], "colour": "red"}').apply_now(message())
    assert raised.value.reason == (
        "the transform's result does not fit ShipmentOrder: payload.id: required field missing; "
        "payload.state: expected text, got '5'; payload.items[0].quantity: required field missing; "
        "payload.colour: unknown field; ShipmentOrder has id, state, items, urgent, document"
    )


def test_a_list_that_jsonata_made_single_is_explained(make: Make) -> None:
    with pytest.raises(Poison, match=r"payload.items: expected a list, got an object \(JSONata gives a single item"):
        make('{"id": "i", "state": "s", "items": lines.{"article": sku, "quantity": count}}').apply_now(message())


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("nothing.here", "the transform gave nothing"),
        ("null", "payload: expected an object, got null"),
        ("[1, 2]", "payload: expected an object, got a list"),
        ("function($x){$x}", "does not fit ShipmentOrder"),
        ('$error("no such order")', "the transform failed: no such order"),
        ("$sum(orderId)", "the transform failed: "),
        ("$nosuch(1)", "the transform failed: Attempted to invoke a non-function: $nosuch"),
        ("($f := function(){$f()}; $f())", "the transform failed: Evaluation timeout"),
        ("($f := function($n){1 + $f($n)}; $f(1))", "the transform failed: Stack overflow"),
        ("[1..1000000]", "The maximum sequence length"),
        ('$pad("x", 1000000000)', "$pad: the width 1000000000 is above 100000"),
        ('"x" ~> $pad(-1000000000, "#")', "$pad: the width -1000000000 is above 100000"),
    ],
)
def test_an_expression_that_fails_makes_poison(make: Make, expression: str, said: str) -> None:
    with pytest.raises(Poison) as raised:
        make(expression).apply_now(message())
    assert said in raised.value.reason
    assert "\n" not in raised.value.reason


def test_pad_within_its_bound_is_what_jsonata_says(make: Make) -> None:
    parts = ['$pad("a", 3)', '$pad("b", -3, "0")', '("c" ~> $pad(2, "%s"))', "$exists($pad(nothing, 5))"]
    transform = make(f'{{"id": {parts[0]} & {parts[1]} & {parts[2]}, "state": $string({parts[3]})}}')
    result = transform.apply_now(message())
    assert result is not None
    assert (result["id"], result["state"]) == ("a  00bc%", "false")


def test_a_whole_number_that_would_be_rounded_is_refused(make: Make) -> None:
    transform = make('{"id": orderId, "state": $string(total)}')
    with pytest.raises(
        Poison, match=rf"payload.total: a transform keeps whole numbers up to 2\^53 exactly; {2**53 + 1}"
    ):
        transform.apply_now(message(total=2**53 + 1))
    made = transform.apply_now(message(total=2**53))
    assert made is not None
    assert made["state"] == str(2**53)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("{", "not a JSONata expression: "),
        ("$now()", "$now cannot be used in a transform: use $header.timestamp"),
        ("$eval(tags.code)", "$eval cannot be used in a transform: data must not decide what is run"),
        ("$random()", "every attempt must send the same"),
        ('$value("stat", status)', "there is no value table 'stat'; under values: there are state"),
        ("$key('stat', status)", "there is no value table 'stat'"),
    ],
)
def test_an_expression_that_cannot_be_right_is_refused_at_once(make: Make, expression: str, said: str) -> None:
    with pytest.raises(InvalidTransform) as raised:
        make("orderId", expression)
    (fault,) = raised.value.faults
    assert fault.field == "flows.order-placed.transform[1].jsonata"
    assert said in fault.error


def test_names_inside_texts_and_comments_are_no_functions(make: Make) -> None:
    make('/* $now() */ {"id": "$eval(1)", "state": \'$random()\', `$millis`: 1}')


def test_a_table_says_what_it_does_not_have() -> None:
    tables = ValueTables({"state": {"open": "NEW"}})
    assert tables.value("state", "open") == "NEW"
    assert tables.key("state", "NEW") == "open"
    with pytest.raises(Unmapped, match="value table state has nothing for 'open'; it knows NEW"):
        tables.key("state", "open")
    with pytest.raises(Unmapped, match="there is no value table 'x'; there are state"):
        tables.value("x", "open")
    with pytest.raises(Unmapped, match="nothing for 1"):
        tables.value("state", 1)


class _Stalls(ValueTables):
    """Takes 0.3 s of the clock and nothing of the processor, so often; ``busy``: of the processor too."""

    def __init__(self, times: int, *, busy: bool = False) -> None:
        super().__init__({"state": {"x": "READY"}})
        self.times, self.busy, self.stood = times, busy, 0

    def value(self, table: Any, key: Any) -> str:
        if self.stood < self.times:
            self.stood += 1
            until = time.monotonic() + 0.3
            while self.busy and time.monotonic() < until:
                pass
            time.sleep(max(0.0, until - time.monotonic()))
        return super().value(table, key)


STALLING = '{"state": $map([1..9], function($i) {$value("state", x)})[0]}'


def test_a_machine_that_stands_still_makes_no_poison() -> None:
    tables = _Stalls(3)
    found = Expression(STALLING, tables, frozenset({"state"})).run('{"x": "x"}', {})
    assert (found, tables.stood) == ('{"state":"READY"}', 3)


def test_an_expression_that_needs_the_processor_too_long_is_not_begun_again_and_again() -> None:
    tables = _Stalls(1000, busy=True)
    with pytest.raises(Poison, match="timeout"):
        Expression(STALLING, tables, frozenset({"state"})).run('{"x": "x"}', {})
    assert tables.stood < 5
