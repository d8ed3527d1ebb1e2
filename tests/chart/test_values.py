"""The values: each is described, and what the chart has of elsewhere is fresh."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.chart.rendered import CHART, ROOT

pytestmark = pytest.mark.chart
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def _nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, node in schema.get("properties", {}).items():
        yield f"{path}{name}", node
        yield from _nodes(node, f"{path}{name}.")
        items = node.get("items", {})
        if isinstance(items, dict):
            yield from _nodes(items, f"{path}{name}[].")


def test_each_value_has_a_description_that_is_a_sentence() -> None:
    assert not [path for path, node in _nodes(SCHEMA) if not re.search(r"^\S.{3,}[.…]$", node.get("description", ""))]


def test_a_value_that_is_not_known_is_refused() -> None:
    assert SCHEMA["additionalProperties"] is False
    assert not [
        path for path, node in _nodes(SCHEMA) if "properties" in node and node["additionalProperties"] is not False
    ]


def test_the_defaults_of_the_schema_are_the_values() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def defaults(schema: dict[str, Any]) -> dict[str, Any]:
        return {
            name: defaults(node) if "properties" in node else node["default"]
            for name, node in schema["properties"].items()
            if name != "global"
        }

    assert defaults(SCHEMA) == values


def test_each_value_is_used_by_a_template() -> None:
    """By the last part of its name, as the templates take whole groups at a time."""
    text = "\n".join(path.read_text() for path in (CHART / "templates").rglob("*") if path.is_file())
    names = {path.split(".")[-1] for path, _ in _nodes(SCHEMA) if "[]" not in path} - {"global"}
    assert not [name for name in sorted(names) if not re.search(rf"[.\"]{re.escape(name)}\b", text)]


def test_readme_alerts_dashboards_and_integration_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/chart.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_chart_and_application_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    init = (ROOT / "services/linkspan/__init__.py").read_text()
    assert f'__version__ = "{chart["appVersion"]}"' in init
