"""What a predicate is asked of: events of any released version; what cannot be read is selected, to be a figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from linkspan.kernel.codec import MARKER, Decoder, body_writer
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.schemas import EventSchema, SchemaCatalog, packaged_schemas
from linkspan.replay.compared import places
from linkspan.replay.content import READABLE, UNREADABLE, EventContent
from linkspan.replay.selection import predicate

LINE, NOTE = {"name": "line", "type": "int"}, {"name": "note", "type": "string", "default": "none"}
ID = "0190b3a0-7b1e-7c3a-9f00-1234567890ab"


@pytest.fixture
def catalog(tmp_path: Path) -> SchemaCatalog:
    """A payload that gained a field."""
    for version, fields in ((1, [LINE]), (2, [LINE, NOTE])):
        schema = {"type": "record", "namespace": "shop.payload", "name": "Order", "fields": fields}
        file = tmp_path / "shop" / f"Order.{version}.avsc"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(schema))
    return SchemaCatalog(packaged_schemas(), tmp_path)


def event(schema: EventSchema, line: int) -> bytes:
    header = {"messageId": ID, "timestamp": 0, "source": "shop", "destination": "store", "messageType": "event"}
    datum: dict[str, Any] = {
        "header": header | {"type": "Order", "version": "1.0"},
        "payload": {"line": line, "note": "some"},
        "metadata": {"correlationId": ID, "priority": "normal", "ttl": None, "retryCount": 0, "defaulted": []},
    }
    out = [MARKER + schema.fingerprint]
    body_writer(schema.definition)(out, datum)
    return b"".join(out)


def content(catalog: SchemaCatalog, text: str = "") -> EventContent:
    asked = predicate(text, {"state": {"paid": "READY"}}) if text else None
    return EventContent(Decoder.of_events(catalog, "shop", ["Order"]), asked)


def test_events_of_every_released_combination_of_schemas_are_asked(catalog: SchemaCatalog) -> None:
    found = content(catalog, "payload.note = 'none'")
    versions = catalog.events("shop", "Order")
    assert {one.versions[1] for one in versions} == {1, 2}
    for one in versions:
        assert found.asked(event(one, 1)) == (one.versions[1] == 1, READABLE), one.versions
    assert found.failures == 0


@pytest.mark.parametrize("text", ["", "payload.line = 1"])
def test_bytes_of_no_released_schema_are_selected_and_unreadable(catalog: SchemaCatalog, text: str) -> None:
    found = content(catalog, text)
    for value in (None, b"", b"{}", MARKER + b"12345678" + b"body"):
        assert found.asked(value) == (True, UNREADABLE)
    damaged = event(catalog.events("shop", "Order")[-1], 1)[:-3]
    assert found.asked(damaged) == (True, UNREADABLE if text else READABLE), "a prefix alone says no more"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("$error('odd')", "odd"),
        ("payload.line", "the predicate gave 1, not true or false"),
        ("($f := function($x) { 1 + $f($x) }; $f(0)) > 1", "the predicate failed"),
        ("$count([1..10000000]) > 1", "the predicate failed"),
        ("$value('state', 'lost') = 'READY'", "value table state has nothing for 'lost'"),
    ],
)
def test_a_message_of_which_the_predicate_cannot_be_asked_is_not_selected_and_counted(
    catalog: SchemaCatalog, text: str, why: str
) -> None:
    found, value = content(catalog, text), event(catalog.events("shop", "Order")[-1], 1)
    assert [found.asked(value) for _ in range(2)] == [(False, READABLE)] * 2
    assert found.failures == 2
    assert why in found.failure


def test_what_matches_nothing_is_not_true(catalog: SchemaCatalog) -> None:
    found, value = content(catalog, "payload.nothing"), event(catalog.events("shop", "Order")[-1], 1)
    assert found.asked(value) == (False, READABLE)
    assert found.failures == 0


@pytest.mark.parametrize("text", ["payload.[", "$random() > 0.5", "$value('no table', payload.line) = 'x'"])
def test_a_predicate_that_no_message_could_be_asked_is_a_mistake(text: str) -> None:
    with pytest.raises(UserMistake):
        predicate(text, {})


@pytest.mark.parametrize(("records", "count"), [(0, 5), (3, 5), (5, 5), (1_000, 5), (7, 6), (10, 1)])
def test_samples_are_spread_from_the_first_to_the_last(records: int, count: int) -> None:
    found = places(records, count)
    assert found == sorted(set(found))
    assert len(found) == min(records, count)
    assert records == 0 or found[0] == 0
    assert count == 1 or records == 0 or found[-1] == records - 1
