"""Each alert fires when it must and is silent when it must be, by promtool; and each leads to a runbook."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.prometheus_tools import prometheus_tool
from tests.unit.observe.alert_cases import CASES, HOUR, Case
from tests.unit.observe.promql import faults

from linkspan.cli.observe.alerts import rules_file
from linkspan.cli.observe.thresholds import Thresholds
from linkspan.kernel.errors import UserMistake

ROOT = Path(__file__).parents[3]
FILE = ROOT / "deploy/prometheus/linkspan.rules.yml"


def rules(text: str) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]}


RULES = rules(rules_file(Thresholds()))


def test_the_file_of_rules_is_fresh() -> None:
    assert FILE.read_text() == rules_file(Thresholds()), "make observe writes it"


def test_prometheus_accepts_the_rules_at_any_pace(tmp_path: Path) -> None:
    for pace in (1.0, 0.5, 0.0123):
        file = tmp_path / f"{pace}.yml"
        file.write_text(rules_file(Thresholds(pace=pace)))
        tool = [prometheus_tool("promtool"), "check", "rules", str(file)]
        said = subprocess.run(tool, check=False, capture_output=True, text=True)
        assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("name", RULES)
def test_an_alert_names_metrics_and_labels_that_exist(name: str) -> None:
    rule = RULES[name]
    assert faults(rule["expr"]) == []
    said = " ".join(rule["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", said)) <= set(re.findall(r"\w+", rule["expr"])) | {"job", "instance"}


@pytest.mark.parametrize("name", RULES)
def test_an_alert_names_its_severity_and_a_runbook_that_exists(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]
    page, anchor = rule["annotations"]["runbook"].split("#")
    sections = re.split(r"^## ", (ROOT / page).read_text(), flags=re.MULTILINE)[1:]
    found = {section.split("\n", 1)[0].lower(): section for section in sections}
    assert "**Means:**" in found[anchor]


def test_no_runbook_is_without_its_alert() -> None:
    page = (ROOT / "docs/runbooks/alerts.md").read_text()
    assert set(re.findall(r"^## (\w+)$", page, flags=re.MULTILINE)) == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_an_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(name: str) -> None:
    assert {bool(case.fires) for case in CASES if case.alert == name} == {True, False}


def unit_test(case: Case) -> dict[str, Any]:
    """``ALERTS`` is asked, so that it is about who fires, and texts may be better written."""
    severity = RULES[case.alert]["labels"]["severity"]
    fixed = {"alertname": case.alert, "alertstate": "firing", "severity": severity}
    labelled = [fixed | labels for labels in case.fires]
    return {
        "name": f"{case.alert} at {case.at}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "promql_expr_test": [
            {
                "expr": f'ALERTS{{alertname="{case.alert}",alertstate="firing"}}',
                "eval_time": f"{case.at}m",
                "exp_samples": [{"labels": f"ALERTS{{{selector(labels)}}}", "value": 1} for labels in labelled],
            }
        ],
    }


def selector(labels: dict[str, str]) -> str:
    return ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(labels.items()))


def promtool(folder: Path, text: str, cases: list[Case]) -> subprocess.CompletedProcess[str]:
    """Those that look late are evaluated every ten minutes, as each evaluation takes its time."""
    (folder / FILE.name).write_text(text)
    files = []
    for every in (1, 10):
        tests = [unit_test(case) for case in cases if (case.at >= 6 * HOUR) == (every == 10)]
        file = folder / f"every-{every}.yml"
        file.write_text(yaml.safe_dump({"rule_files": [FILE.name], "evaluation_interval": f"{every}m", "tests": tests}))
        files.append(str(file))
    tool = [prometheus_tool("promtool"), "test", "rules", *files]
    return subprocess.run(tool, check=False, capture_output=True, text=True)


def test_every_alert_fires_when_it_must_and_is_silent_when_it_must_be(tmp_path: Path) -> None:
    said = promtool(tmp_path, FILE.read_text(), CASES)
    assert said.returncode == 0, said.stdout + said.stderr
    assert (said.stdout + said.stderr).count("SUCCESS") == 2


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("LinkspanErrorRate", "> 0.05", "> 0.5"),
        ("LinkspanHeldKeys", "linkspan_held_keys) > 0", "linkspan_held_keys) > 9"),
        ("LinkspanRateLow", "< 20", "< 24"),
    ],
)
def test_a_rule_that_is_wrong_is_found_by_these_cases(tmp_path: Path, name: str, good: str, bad: str) -> None:
    text = FILE.read_text()
    assert good in text
    said = promtool(tmp_path, text.replace(good, bad), [case for case in CASES if case.alert == name])
    assert said.returncode != 0
    assert name in said.stdout + said.stderr


def test_thresholds_are_in_the_rules() -> None:
    mine = rules(rules_file(Thresholds(low_rate=3, hours="0-24", days="0-6", queue_depth=77, p95_seconds=0.5)))
    assert "< 3 and hour() >= 0 < 24 and day_of_week() >= 0 <= 6" in mine["LinkspanRateLow"]["expr"]
    assert mine["LinkspanQueueDeep"]["expr"].endswith("> 77")
    assert mine["LinkspanLatencyHigh"]["expr"].endswith("> 0.5")
    assert "LinkspanRateLow" not in rules(rules_file(Thresholds(hours="never")))
    with pytest.raises(UserMistake, match="--hours 22-6: expected FIRST-LAST from 0 to 24"):
        rules_file(Thresholds(hours="22-6"))
