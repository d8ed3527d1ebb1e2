"""The integration file and the examples beside it, with the real extraction and the real schemas."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jsonatapy
import pytest
import yaml
from fastavro.validation import validate

from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas
from linkspan.kernel.spec_file import load_integration
from linkspan.kernel.steps import StepContext
from linkspan.reference.plans.step import extract_plan

HERE = Path(__file__).parents[3] / "services/linkspan/reference"
ENVIRONMENT = {
    "SYSTEM_A_ENDPOINT": "http://127.0.0.1:8081",
    "SYSTEM_A_CLIENT_ID": "linkspan",
    "SYSTEM_A_CLIENT_SECRET": "s",
    "SYSTEM_B_ENDPOINT": "ws://127.0.0.1:8082",
    "SYSTEM_B_API_KEY": "k",
}


@pytest.mark.parametrize("flow_name", ["plan-uploaded", "analysis-complete"])
async def test_the_examples_of_a_flow_come_out_as_written_and_fit_both_schemas(flow_name: str, tmp_path: Path) -> None:
    integration = load_integration(HERE / "integration.yaml", ENVIRONMENT)
    flow, catalog = integration.flows[flow_name], SchemaCatalog(packaged_schemas())
    (path,) = flow.examples
    for example in yaml.safe_load((HERE / path).read_text()):
        payload = _decoded(example["input"])
        assert validate(payload, catalog.latest("plans", flow.type).definition)
        for step in flow.transform:
            if step.step:
                context = StepContext(flow_name, {}, {}, BlobStore(str(tmp_path)))
                payload = await extract_plan(payload, context)
            else:
                payload = _mapped(str(step.jsonata), payload, integration.values["plan-type"])
        assert payload == example["output"], example["name"]
        assert flow.delivers
        assert validate(payload, catalog.latest("plans", flow.delivers).definition)


def _decoded(payload: dict[str, Any]) -> dict[str, Any]:
    return payload | {"content": base64.b64decode(payload["content"])} if "content" in payload else payload


def _mapped(text: str, payload: dict[str, Any], table: dict[str, str]) -> dict[str, Any]:
    expression = jsonatapy.compile(text)
    expression.register("value", lambda _table, key: table[key])
    expression.register("key", lambda _table, value: {code: name for name, code in table.items()}[value])
    mapped: dict[str, Any] = expression.evaluate(payload)
    return mapped
