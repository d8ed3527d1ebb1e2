"""A released schema still reads and is read; what breaks that is named by version and field."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from linkspan.cli.main import main
from linkspan.kernel.evolution.compare import incompatible
from linkspan.kernel.evolution.proof import samples, unread
from linkspan.kernel.evolution.released import release, unreleased, violations
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas

Field = dict[str, Any]
ENUM = {"type": "enum", "name": "State", "symbols": ["a", "b"]}


def field(kind: Any, name: str = "x", **more: Any) -> Field:
    return {"name": name, "type": kind, **more}


def record(*fields: Field, name: str = "Inner", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def write(root: Path, version: int, *fields: Field, folder: str = "orders", name: str = "Order") -> Path:
    namespace = folder if folder == "linkspan" else f"{folder}.payload"
    path = root / folder / f"{name}.{version}.avsc"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps({"type": "record", "namespace": namespace, "name": name, "fields": list(fields)}))
    return path


def compared(root: Path, *versions: list[Field]) -> list[str]:
    for number, fields in enumerate(versions, 1):
        write(root, number, *fields)
    return [line.removeprefix("orders/Order: version ") for line in incompatible(SchemaCatalog(root))]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ([], [field("int")], ["2 cannot read version 1: field 'payload.x' was added without a default"]),
        ([field("int")], [], ["1 cannot read version 2: field 'payload.x' was removed without a default"]),
        ([field("int", default=0)], [], []),
        ([], [field("int", default=0)], []),
        ([field("int")], [field("long")], ["1 cannot read version 2: field 'payload.x': was long, is read as int"]),
        ([field("string")], [field("bytes")], []),
        (
            [field("string")],
            [field("int")],
            [
                "1 cannot read version 2: field 'payload.x': was int, is read as string",
                "2 cannot read version 1: field 'payload.x': was string, is read as int",
            ],
        ),
        (
            [field(ENUM)],
            [field(ENUM | {"symbols": ["a", "b", "c"]})],
            [
                (
                    "1 cannot read version 2: field 'payload.x': "
                    "enum State does not know c and has no default for what it does not know"
                )
            ],
        ),
        ([field(ENUM | {"default": "a"})], [field(ENUM | {"symbols": ["a", "b", "c"], "default": "a"})], []),
        (
            [field(["null", "string"])],
            [field(["null", "string", "int"])],
            ["1 cannot read version 2: field 'payload.x': could be int, is read as null or string"],
        ),
        (
            [field(["null", "string"])],
            [field("string")],
            ["2 cannot read version 1: field 'payload.x': could be null, is read as string"],
        ),
        (
            [field(record(field("int")))],
            [field(record(field("int"), name="Other"))],
            [
                "1 cannot read version 2: field 'payload.x': was the record Other, is read as Inner without an alias",
                "2 cannot read version 1: field 'payload.x': was the record Inner, is read as Other without an alias",
            ],
        ),
        (
            [field({"type": "array", "items": record(field("int"))})],
            [field({"type": "array", "items": record(field("int"), field("int", "floor"))})],
            ["2 cannot read version 1: field 'payload.x[].floor' was added without a default"],
        ),
        (
            [field({"type": "map", "values": "long"})],
            [field({"type": "map", "values": "int"})],
            ["2 cannot read version 1: field 'payload.x.*': was long, is read as int"],
        ),
        (
            [field({"type": "long", "logicalType": "timestamp-micros"})],
            [field("long")],
            [
                (
                    "1 cannot read version 2: field 'payload.x': "
                    "was long, is read as long (timestamp-micros): the same bytes mean something else"
                ),
                (
                    "2 cannot read version 1: field 'payload.x': "
                    "was long (timestamp-micros), is read as long: the same bytes mean something else"
                ),
            ],
        ),
        (
            [field("int")],
            [field("int", "y", aliases=["x"])],
            ["1 cannot read version 2: field 'payload.x' was removed without a default"],
        ),
        (
            [field(record(field("int"))), field("Inner", "again")],
            [field(record(field("int"), field("int", "z"))), field("Inner", "again")],
            [
                "2 cannot read version 1: field 'payload.x.z' was added without a default",
                "2 cannot read version 1: field 'payload.again.z' was added without a default",
            ],
        ),
        (
            [field(["null", record(field("int"))])],
            [field(["null", record(field("int"), field("int", "z", default=1))])],
            [],
        ),
    ],
)
def test_what_breaks_a_reader_is_named(tmp_path: Path, old: list[Field], new: list[Field], said: list[str]) -> None:
    assert compared(tmp_path, old, new) == said


def test_every_pair_is_compared_and_said_once(tmp_path: Path) -> None:
    said = compared(
        tmp_path,
        [field("int", default=0)],
        [field("int", default=0), field("int", "y", default=1)],
        [field("int", "y")],
    )
    assert said == ["3 cannot read version 1: field 'payload.y' was added without a default"]
    said = compared(tmp_path / "far", [field("int")], [field("int", default=0)], [field("int", "y", default=0)])
    assert said == ["1 cannot read version 3: field 'payload.x' was removed without a default"]


def test_rules_and_data_agree() -> None:
    """Samples of a writer read wherever the rules say they do, and do not where the rules name a field."""
    inner = {"type": "record", "name": "orders.A", "fields": [field(["null", "int", record(field("long"))])]}
    assert unread(inner, inner) is None
    narrow = {"type": "record", "name": "orders.A", "fields": [field(["null", "int"])]}
    assert unread(inner, narrow) is not None
    assert unread(narrow, inner) is None


def test_samples_show_every_symbol_and_branch() -> None:
    schema = {"type": "record", "name": "A", "fields": [field(ENUM), field(["null", "string", "int"], "y")]}
    made = list(samples(schema, 6))
    assert {sample["x"] for sample in made} == {"a", "b"}
    assert {type(sample["y"]) for sample in made} == {type(None), str, int}
    assert made == list(samples(schema, 6))


def test_all_of_linkspan_s_own_schemas_read_each_other() -> None:
    assert incompatible(SchemaCatalog(packaged_schemas())) == []


def test_a_released_file_may_not_be_edited_or_taken_away(tmp_path: Path) -> None:
    first = write(tmp_path, 1, field("int", default=0))
    second = write(tmp_path, 2, field("int", default=0), field("int", "y", default=1))
    assert release(SchemaCatalog(tmp_path), tmp_path) == ["orders/Order.1.avsc", "orders/Order.2.avsc"]
    assert list(violations(SchemaCatalog(tmp_path), tmp_path)) == []
    write(tmp_path, 1, field("int", default=7))
    second.unlink()
    assert list(violations(SchemaCatalog(tmp_path), tmp_path)) == [
        "orders/Order.1.avsc: is released and was edited; put it back and make the change in orders/Order.2.avsc",
        "orders/Order.2.avsc: is released and must stay: events of it may still be replayed",
    ]
    first.write_text(json.dumps(json.loads(first.read_text()) | {"doc": "New words."}, indent=8))
    write(tmp_path, 3, field("int", default=0))
    assert unreleased(SchemaCatalog(tmp_path), tmp_path) == ["orders/Order.3.avsc"]


def test_layout_and_docs_of_a_released_file_may_change(tmp_path: Path) -> None:
    path = write(tmp_path, 1, field("int", default=0))
    release(SchemaCatalog(tmp_path), tmp_path)
    schema = json.loads(path.read_text())
    path.write_text(json.dumps({"doc": "New words.", **schema}, indent=8))
    assert list(violations(SchemaCatalog(tmp_path), tmp_path)) == []


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["linkspan", "schemas", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_the_command_checks_releases_and_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ("--root", str(tmp_path))
    write(tmp_path, 1, field("int"))
    assert run(monkeypatch, "check", *root) == 0
    assert "not released yet: orders/Order.1.avsc" in capsys.readouterr().out
    assert run(monkeypatch, "release", *root) == 0
    assert "released orders/Order.1.avsc" in capsys.readouterr().out
    write(tmp_path, 2, field("int"), field("int", "y"))
    for command in ("check", "release"):
        assert run(monkeypatch, command, *root) == 1
        line = "orders/Order: version 2 cannot read version 1: field 'payload.y' was added without a default\n"
        assert line in capsys.readouterr().out
    assert run(monkeypatch, "check", "--root", str(tmp_path / "none")) == 2
    assert capsys.readouterr().err == f"linkspan: there is no folder {tmp_path / 'none'}\n"
