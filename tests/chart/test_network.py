"""Who may talk to whom. The policies are read here as Kubernetes reads them; no cluster of ours enforces them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.chart.rendered import Manifest, manifests, template, workloads

pytestmark = pytest.mark.chart
MATRIX = Path(__file__).parent / "matrix"


@pytest.fixture(scope="module")
def trial() -> list[Manifest]:
    return manifests(template("--values", str(MATRIX / "trial.yaml")))


@pytest.fixture(scope="module")
def production() -> list[Manifest]:
    return manifests(template("--values", str(MATRIX / "production.yaml")))


def _selected(selector: Manifest, labels: Manifest) -> bool:
    wanted = selector.get("matchLabels", {})
    among = [labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ())]
    return wanted.items() <= labels.items() and all(among)


def _rules(release: list[Manifest], labels: Manifest, way: str) -> list[Any]:
    """All that is allowed to these pods; raises where the way is not closed to them at all."""
    policies = [found["spec"] for found in release if found["kind"] == "NetworkPolicy"]
    theirs = [spec for spec in policies if _selected(spec["podSelector"], labels)]
    assert any(way.title() in spec["policyTypes"] for spec in theirs), f"{way} is open"
    return [rule for spec in theirs for rule in spec.get(way, ())]


def _labels(release: list[Manifest]) -> dict[str, Manifest]:
    return {workload.component: workload.metadata["labels"] for workload in workloads(release)}


def _ports(rules: list[Any], peer: str, *, anybody: bool = True) -> set[Any]:
    return {port["port"] for rule in rules if anybody or peer in rule for port in rule["ports"]}


def test_every_pod_is_closed_but_for_what_is_said(trial: list[Manifest], production: list[Manifest]) -> None:
    for release in (trial, production):
        for component, labels in _labels(release).items():
            for way in ("ingress", "egress"):
                rules = _rules(release, labels, way)
                assert all(rule.get("ports") for rule in rules), f"{component}: a rule for all ports"


def test_each_process_reaches_names_kafka_and_the_database(production: list[Manifest]) -> None:
    for component in ("ingress", "egress", "ledger", "insight", "archive", "topics"):
        ports = _ports(_rules(production, _labels(production)[component], "egress"), "to")
        assert {53, 9094, 5432, 4318} <= ports, component


def test_only_those_who_deliver_or_take_and_the_archive_reach_the_systems_and_stores(
    production: list[Manifest],
) -> None:
    reach = {
        name: 443 in _ports(_rules(production, labels, "egress"), "to") for name, labels in _labels(production).items()
    }
    assert {name for name, may in reach.items() if may} == {"ingress", "egress", "egress-canary", "archive"}


def test_senders_reach_ingress_only(production: list[Manifest]) -> None:
    sender = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}
    for component, labels in _labels(production).items():
        open_to = [rule for rule in _rules(production, labels, "ingress") if sender in rule.get("from", ())]
        assert bool(open_to) == (component == "ingress"), component


def test_kafka_is_reached_only_where_it_is(production: list[Manifest]) -> None:
    rules = _rules(production, _labels(production)["egress"], "egress")
    (to,) = [rule["to"] for rule in rules if 9094 in _ports([rule], "to")]
    assert to == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "data"}}}]


def test_the_test_reaches_what_it_asks(trial: list[Manifest], production: list[Manifest]) -> None:
    for release, asked in ((trial, ["ingress", "plan-manager"]), (production, ["ingress"])):
        labels = _labels(release)
        assert "http" in _ports(_rules(release, labels["test"], "egress"), "to")
        for component in asked:
            peers = [p for rule in _rules(release, labels[component], "ingress") for p in rule.get("from", [{}])]
            mine = [p for p in peers if _selected(p.get("podSelector", {}), labels["test"])]
            assert mine or component == "ingress", component
