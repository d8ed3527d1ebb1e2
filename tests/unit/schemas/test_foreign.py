"""What another version of Linkspan wrote is read by the schema that it published."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.event_encoder import EventEncoder
from tests.integration.upgrade.newer import newer_schemas
from tests.unit.schemas.test_codec import event, write

from linkspan.control.fold import ControlState
from linkspan.kernel.codec import Decoder, RecordCodec
from linkspan.kernel.commands import PAUSE, RESUME, Command, CommandCodec
from linkspan.kernel.errors import Poison, UnknownWriter
from linkspan.kernel.evolution.compare import incompatible
from linkspan.kernel.kafka.published import own_schemas, published_schema, schema_text
from linkspan.kernel.records.position import Position
from linkspan.kernel.records.state import StateCodec
from linkspan.kernel.schemas import COMMON, SchemaCatalog, packaged_schemas, schema_fingerprint
from linkspan.kernel.topics import Headers


@pytest.fixture
def newer(tmp_path: Path) -> SchemaCatalog:
    return SchemaCatalog(newer_schemas(tmp_path))


@pytest.fixture
def older() -> SchemaCatalog:
    return SchemaCatalog(packaged_schemas())


def learn(older: SchemaCatalog, newer: SchemaCatalog) -> None:
    """As from the topic."""
    for schema in own_schemas(newer, "orders"):
        key = schema_fingerprint(schema).hex().encode()
        found = published_schema(SimpleNamespace(key=key, value=schema_text(schema)))
        assert found is not None
        older.foreign[found[0]] = found[1]


def kind(newer: SchemaCatalog, name: str) -> bytes:
    said: dict[str, Any] = {"id": "01980000-0000-7000-8000-000000000001", "kind": name, "flow": "orders", "at": 0}
    return RecordCodec(newer, "Command").encode(said | {"by": "ann", "reason": "why", "scope": "all of it"})


def test_the_newer_version_of_the_tests_is_one_that_the_check_lets_pass(newer: SchemaCatalog) -> None:
    assert incompatible(newer) == []


def test_a_position_of_another_version_is_read_once_its_schema_is_known(
    older: SchemaCatalog, newer: SchemaCatalog
) -> None:
    position = Position(epoch=7, events=12, finished=((14, 16),), outcomes=40, outcomes_epoch=6)
    value, codec = StateCodec(newer).encode(position), StateCodec(older)
    with pytest.raises(UnknownWriter) as unknown:
        codec.decode(value)
    assert codec.unknown(value) == unknown.value.fingerprint
    learn(older, newer)
    assert codec.unknown(value) is None
    assert codec.decode(value) == position


def test_an_event_of_another_version_is_read_into_this_one_s(tmp_path: Path) -> None:
    write(tmp_path, "Order", 1, {"name": "n", "type": "int"})
    before = SchemaCatalog(packaged_schemas(), tmp_path)
    write(tmp_path, "Order", 2, {"name": "n", "type": "int"}, {"name": "more", "type": "string", "default": "x"})
    after = SchemaCatalog(packaged_schemas(), tmp_path)
    value = EventEncoder(after, "orders", "Order").encode(event(n=5, more="y")).value
    decoder = Decoder.of_events(before, "orders", ["Order"])
    assert decoder.unknown(value) is not None
    for schema in own_schemas(after, "orders", ["Order"]):
        before.foreign[schema_fingerprint(schema)] = schema
    assert decoder.json(value)["payload"] == {"n": 5}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (b"pause flow orders", (PAUSE, "orders", "")),
        (b"resume flow orders", (RESUME, "orders", "")),
        (b"pause system the store", (PAUSE, "", "the store")),
        (b"explode flow orders", ("freeze", "orders", "")),
        (b"pause", ("freeze", "orders", "")),
        (None, ("freeze", "orders", "")),
    ],
)
def test_a_kind_of_another_version_is_what_its_header_says_or_means_nothing(
    older: SchemaCatalog, newer: SchemaCatalog, said: bytes | None, meant: tuple[str, str, str]
) -> None:
    learn(older, newer)
    headers = [] if said is None else [(Headers.OTHERWISE, said)]
    command = CommandCodec(older).read(kind(newer, "freeze"), headers)
    assert (command.kind, command.flow, command.destination) == meant
    state = ControlState()
    verdict = state.fold(command)
    assert verdict.effective == (command.kind == PAUSE)
    assert state.knows(command.kind) == (command.kind in (PAUSE, RESUME))


def test_a_command_that_cannot_be_read_pauses_where_its_header_says_so(older: SchemaCatalog) -> None:
    codec = CommandCodec(older)
    for value in (b"\xc3\x01" + b"\x07" * 8 + b"?", b"", None):
        command = codec.read(value, [(Headers.OTHERWISE, b"pause flow orders")])
        assert (command.kind, command.flow) == (PAUSE, "orders")
        with pytest.raises(Poison):
            codec.read(value, [])


def test_pauses_and_resumes_say_what_they_mean_to_a_version_that_cannot_read_them() -> None:
    assert Command(PAUSE, "orders").headers == [(Headers.OTHERWISE, b"pause flow orders")]
    assert Command(RESUME, destination="store").headers == [(Headers.OTHERWISE, b"resume system store")]
    assert Command("log_level", value="debug").headers == []


def test_a_record_that_lies_about_its_fingerprint_is_no_published_schema(older: SchemaCatalog) -> None:
    schema = older.latest(COMMON, "Hold").definition
    text, key = schema_text(schema), schema_fingerprint(schema).hex().encode()
    assert published_schema(SimpleNamespace(key=key, value=text)) is not None
    for wrong in (
        SimpleNamespace(key=b"00" * 8, value=text),
        SimpleNamespace(key=key, value=b"{}"),
        SimpleNamespace(key=key, value=None),
        SimpleNamespace(key=None, value=text),
        SimpleNamespace(key=key, value=json.dumps({"type": "record", "name": "Hold"}).encode()),
    ):
        assert published_schema(wrong) is None
