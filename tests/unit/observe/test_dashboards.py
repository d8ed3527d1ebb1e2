"""Every query of every dashboard names metrics and labels that there are."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.prometheus_tools import prometheus_tool
from tests.unit.observe.promql import faults

from linkspan.cli.observe.dashboards import Dashboard, dashboard_json, dashboards

FOLDER = Path(__file__).parents[3] / "deploy/grafana"
QUERIES = [
    pytest.param(query, legend, id=f"{one.uid}: {panel.title} {legend}")
    for one in dashboards()
    for panel in one.panels
    for query, legend in panel.queries
]


@pytest.mark.parametrize(("query", "legend"), QUERIES)
def test_a_query_names_metrics_and_labels_that_exist(query: str, legend: str) -> None:
    assert faults(query) == []
    grouped = {label for group in re.findall(r"by \(([^)]*)\)", query) for label in re.split(r",\s*", group)}
    assert set(re.findall(r"{{(\w+)}}", legend)) <= grouped, "a legend shows only labels that are left"


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("sum(rate(linkspan_nonsense_total[5m]))", "no metric linkspan_nonsense_total"),
        ("sum(linkspan_lag{destination='x'})", "linkspan_lag has no label destination"),
        ("sum by (kind) (linkspan_lag)", "no metric here has the label kind"),
        ("sum by (le) (rate(linkspan_end_to_end_seconds_sum[5m]))", "no metric here has the label le"),
        ("rate(linkspan_end_to_end_seconds[5m])", "no metric linkspan_end_to_end_seconds"),
        ("1 + 1", "no metric in 1 + 1"),
    ],
)
def test_a_query_that_is_wrong_is_found(query: str, fault: str) -> None:
    assert fault in faults(query)


def test_prometheus_can_parse_every_query(tmp_path: Path) -> None:
    """As recording rules; what Grafana puts in is put in."""
    filled = [
        query.values[0].replace("$__rate_interval", "5m").replace("$flow", "orders")  # type: ignore[union-attr]
        for query in QUERIES
    ]
    rules = [{"record": f"q{number}", "expr": query} for number, query in enumerate(filled)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    tool = [prometheus_tool("promtool"), "check", "rules", str(file)]
    said = subprocess.run(tool, check=False, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("dashboard", dashboards(), ids=lambda one: one.uid)
def test_the_files_are_fresh_and_no_panel_lies_over_another(dashboard: Dashboard) -> None:
    text = (FOLDER / f"{dashboard.uid}.json").read_text()
    assert text == dashboard_json(dashboard), "make observe writes it"
    panels = json.loads(text)["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(panels) == len({panel["id"] for panel in panels})
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_there_is_no_file_without_its_dashboard() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == {one.uid for one in dashboards()}
