"""What the step gives fits the record that is delivered, exactly."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fastavro.validation import validate

SCHEMA = Path(__file__).parents[3] / "schemas" / "plans" / "PlanExtract.1.avsc"


@pytest.fixture(scope="module")
def schema() -> Any:
    return fastavro.parse_schema(json.loads(SCHEMA.read_text()))


def delivered(found: dict[str, Any]) -> dict[str, Any]:
    texts = {"attributes": {"name": "House", "description": None}}
    links = [{"type": "replaces", "id": "b1"}]
    names = ("dimensions", "materials", "partial", "reasons")
    return {
        "id": "a1",
        "planId": "0198c0de-0000-7000-8000-0000000000a1",
        "type": "RES",
        **texts,
        "relationships": links,
    } | {name: found[name] for name in names}


async def test_every_extract_fits_the_schema_and_comes_back_the_same(
    extracted: dict[str, Any], house: bytes, floor_plan: bytes, extract: Any, schema: Any
) -> None:
    own = [await extract("house.ifc", house), await extract("floor.dxf", floor_plan)]
    for found in [*extracted.values(), *own]:
        record = delivered(found)
        assert validate(record, schema, strict=True)
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, schema, record)
        buffer.seek(0)
        back = fastavro.schemaless_reader(buffer, schema, schema)
        assert back | {"planId": str(back["planId"])} == record
        assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_every_field_has_a_doc_and_every_optional_one_defaults_to_null() -> None:
    def walk(node: Any) -> None:
        if isinstance(node, list):
            for one in node:
                walk(one)
        elif isinstance(node, dict):
            for field in node.get("fields", []):
                assert field.get("doc"), field["name"]
                if isinstance(field["type"], list):
                    assert field["type"][0] == "null"
                    assert field["default"] is None
            for one in node.values():
                walk(one)

    walk(json.loads(SCHEMA.read_text()))
