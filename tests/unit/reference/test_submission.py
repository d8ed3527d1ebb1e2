"""What the analysis system's queue says to a submit frame, on a real store."""

from __future__ import annotations

import copy
import json
import sqlite3
import uuid

import pytest

from linkspan.reference.analysis.protocol import SUBMIT
from linkspan.reference.analysis.submission import keep, read_frame, received
from linkspan.reference.analysis.tables import SCHEMA


@pytest.fixture
def store() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.executescript(SCHEMA)
    return connection


def test_a_full_queue_answers_busy_but_still_acknowledges_what_it_has(store: sqlite3.Connection) -> None:
    known = read_frame(json.dumps(SUBMIT))
    new = copy.deepcopy(SUBMIT) | {"id": str(uuid.uuid4()), "sequence": 43}
    assert keep(store, known, full=False).result == "queued"
    busy = keep(store, read_frame(json.dumps(new)), full=True)
    assert busy.frame == {"kind": "nack", "id": new["id"], "reason": "busy", "retryAfter": 2}
    assert keep(store, known, full=True).frame == {"kind": "ack", "id": SUBMIT["id"]}
    assert [item["result"] for item in received(store, 0, 10)] == ["queued", "refused", "repeat"]
    assert keep(store, read_frame(json.dumps(new)), full=False).result == "queued"


@pytest.mark.parametrize(
    "text", ["", "null", "[1]", '{"kind":"submit"}', '{"id":7,"body":[],"sequence":1e400}', "\x00", '{"id":"\\ud800"}']
)
def test_whatever_comes_is_answered_and_recorded(store: sqlite3.Connection, text: str) -> None:
    verdict = keep(store, read_frame(text), full=False)
    assert verdict.frame["reason"] == "invalid"
    assert verdict.frame["errors"]
    assert len(received(store, 0, 10)) == 1


def test_half_a_character_in_a_field_that_nobody_reads_does_no_harm(store: sqlite3.Connection) -> None:
    text = json.dumps(SUBMIT).replace('"destination": "analysis"', '"destination": "\\ud800"')
    assert keep(store, read_frame(text), full=False).result == "queued"


def test_a_number_too_large_for_the_store_is_a_fault_of_its_field(store: sqlite3.Connection) -> None:
    verdict = keep(store, read_frame(json.dumps(SUBMIT | {"sequence": 2**63})), full=False)
    assert [error["field"] for error in verdict.frame["errors"]] == ["sequence"]
