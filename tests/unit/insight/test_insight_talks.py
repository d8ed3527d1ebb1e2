"""Conversations: what is heard in any order, and again, comes to the same."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from linkspan.insight.conversations import Conversation, Keeping, Mention
from linkspan.insight.plan import Plan
from linkspan.insight.talks import Talks
from linkspan.insight.writes import Writes
from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas
from linkspan.kernel.spec_file import load_integration

SECOND = 1_000_000
MENTIONS = st.lists(
    st.builds(
        Mention, st.just("asks"), st.sampled_from(["asks", "answers"]), st.integers(0, 9), st.sampled_from("abc")
    ),
    min_size=1,
    max_size=6,
)


class Rows:
    """A shelf in memory."""

    changelog = "changelog"

    def __init__(self) -> None:
        self.rows: dict[tuple[int, bytes], bytes] = {}

    def get(self, partition: int, key: bytes) -> bytes | None:
        return self.rows.get((partition, key))

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        return iter([(key, value) for (number, key), value in self.rows.items() if number == partition])

    def keep(self, partition: int, rows: dict[bytes, bytes | None], _offset: int) -> None:
        for key, value in rows.items():
            if value is None:
                self.rows.pop((partition, key), None)
            else:
                self.rows[partition, key] = value


class Told:
    """One worker; what it tells, as data."""

    def __init__(self, shelf: Rows) -> None:
        plan = Plan("x", None, {"asks": 1, "answers": 1}, 1, {"asks": 60 * SECOND}, {"answers": ("asks",)})  # type: ignore[arg-type]
        self.codec = RecordCodec(SchemaCatalog(packaged_schemas()), "Conversation")
        self.talks = Talks(plan, shelf, self.codec, Keeping(10 * SECOND, 100 * SECOND))  # type: ignore[arg-type]
        self.shelf, self.told = shelf, list[dict[str, Any]]()

    def hear(self, at: int, *mentions: Mention) -> None:
        writes = Writes()
        for mention in mentions:
            self.talks.hear(0, "c", mention, at, writes)
        self._settle(writes)

    def look(self, now: int, read_up_to: int) -> list[str]:
        """States told."""
        before, writes = len(self.told), Writes()
        self.talks.look(now, read_up_to, writes)
        self._settle(writes)
        return [one["state"] for one in self.told[before:]]

    def _settle(self, writes: Writes) -> None:
        self.told += [self.codec.decode(value) for *_, value in writes._sends]
        for (_, partition), rows in writes._rows.items():
            self.shelf.keep(partition, rows, 0)
        self.talks.kept()


def request(at: int, message_id: str = "q") -> Mention:
    return Mention("asks", "asks", at, message_id)


def answer(at: int, message_id: str = "r") -> Mention:
    return Mention("asks", "answers", at, message_id)


@given(MENTIONS, MENTIONS)
def test_order_and_repetition_of_what_is_heard_do_not_matter(first: list[Mention], again: list[Mention]) -> None:
    found = set()
    for order in itertools.islice(itertools.permutations(first), 24):
        heard = Conversation()
        for mention in (*order, *(one for one in again if one in first)):
            heard = heard.with_mention(mention, 0)
        found.add((heard.request, heard.answer))
    assert len(found) == 1


async def test_a_request_waits_is_overdue_and_answered_late_and_is_forgotten() -> None:
    worker = Told(Rows())
    worker.hear(0, request(0))
    assert [one["state"] for one in worker.told] == ["waiting"]
    assert worker.look(59 * SECOND, 59 * SECOND) == []
    assert worker.look(61 * SECOND, 61 * SECOND) == []  # an answer taken in time may be on its way into the log
    assert worker.look(70 * SECOND, 70 * SECOND) == ["overdue"]
    worker.hear(80 * SECOND, answer(80 * SECOND), answer(80 * SECOND))
    assert [one["state"] for one in worker.told] == ["waiting", "overdue", "late"]
    assert worker.talks.counts == {("asks", "late"): 1, ("asks", "waiting"): 0, ("asks", "overdue"): 0}
    assert worker.shelf.rows
    worker.look(200 * SECOND, 200 * SECOND)
    assert not worker.shelf.rows
    assert not any(worker.talks.counts.values())


async def test_nothing_is_overdue_before_all_that_came_in_time_was_read() -> None:
    worker = Told(Rows())
    worker.hear(500 * SECOND, request(0))
    assert worker.look(510 * SECOND, 40 * SECOND) == []
    worker.hear(511 * SECOND, answer(30 * SECOND))
    assert worker.look(520 * SECOND, 520 * SECOND) == []
    assert [one["state"] for one in worker.told] == ["waiting", "answered"]


async def test_an_answer_without_its_request_says_nothing_and_is_forgotten() -> None:
    worker = Told(Rows())
    worker.hear(0, answer(0))
    assert worker.told == []
    worker.look(11 * SECOND, 11 * SECOND)
    assert not worker.shelf.rows


async def test_a_successor_knows_who_waits_and_passes_over_what_is_no_conversation() -> None:
    shelf = Rows()
    worker = Told(shelf)
    worker.hear(0, request(0))
    shelf.rows[0, b"asks/broken"] = b"\xff\x00"
    shelf.rows[0, b"gone-flow/c"] = shelf.rows[0, b"asks/c"]
    successor = Told(shelf)
    await successor.talks.load({0}, lambda: True)
    assert successor.talks.counts == {("asks", "waiting"): 1}
    assert successor.look(70 * SECOND, 70 * SECOND) == ["overdue"]


def write(folder: Path, flows: dict[str, dict[str, Any]], *types: str) -> Path:
    """The integration file."""
    schemas = folder / "schemas" / "x"
    schemas.mkdir(parents=True)
    for name in types:
        fields = [{"name": "id", "type": "string"}]
        schema = {"type": "record", "namespace": "x.payload", "name": name, "fields": fields}
        (schemas / f"{name}.1.avsc").write_text(json.dumps(schema))
    system = {"kind": "rest", "url": "http://127.0.0.1:9"}
    spec = {"integration": "x", "systems": {"a": system, "b": system}, "flows": flows, "schemas": "schemas"}
    (folder / "x.yaml").write_text(yaml.safe_dump(spec))
    return folder / "x.yaml"


def test_an_answer_that_no_flow_brings_is_a_mistake_that_names_it(tmp_path: Path) -> None:
    flow = {"from": "a", "to": "b", "type": "Order", "answer": {"type": "Done", "within": "1m"}}
    path = write(tmp_path, {"f": flow}, "Order")
    with pytest.raises(UserMistake, match=r"flows\.f\.answer\.type: no flow takes Done from b"):
        Plan.of(load_integration(path, {}))


def test_an_answer_ends_what_was_asked_before_the_flow_was_copied_under_another_name(tmp_path: Path) -> None:
    asking = {"from": "a", "to": "b", "type": "Order", "answer": {"type": "Done", "within": "1m"}, "copied_from": "f"}
    answering = {"from": "b", "to": "a", "type": "Done"}
    plan = Plan.of(load_integration(write(tmp_path, {"wide": asking, "g": answering}, "Order", "Done"), {}))
    assert plan.conversations_of("g") == ("wide", "f")
    assert plan.within["f"] == plan.within["wide"]
    assert "f" not in plan.flows, "nothing more is read of it"


def test_a_flow_that_is_copied_from_is_in_the_file_no_more(tmp_path: Path) -> None:
    one = {"from": "a", "to": "b", "type": "Order"}
    path = write(tmp_path, {"f": one, "wide": one | {"type": "Done", "copied_from": "f"}}, "Order", "Done")
    with pytest.raises(UserMistake, match=r"flows\.wide\.copied_from: f is in this file still: remove that flow"):
        load_integration(path, {})
