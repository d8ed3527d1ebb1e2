"""The chart renders, and what it renders is what Kubernetes knows."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.chart.crds import write_schemas
from tests.chart.rendered import (
    CHART,
    KUBERNETES,
    MATRIX,
    ROOT,
    TOOLS,
    Manifest,
    helm,
    manifests,
    refusal,
    template,
    tool,
    workloads,
)

pytestmark = pytest.mark.chart
TRIAL = ("--values", str(Path(__file__).parent / "matrix" / "trial.yaml"))


@pytest.mark.parametrize("values", MATRIX, ids=lambda path: path.stem)
def test_the_linter_has_nothing_to_say(values: Path) -> None:
    done = helm("lint", "--strict", "--kube-version", KUBERNETES, str(CHART), "--values", str(values))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


@pytest.fixture(scope="module")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Schemas of the operators' kinds."""
    if not (TOOLS / "crds").is_dir():
        pytest.skip("no schemas: bash tests/chart/tools.sh brings them")
    made = tmp_path_factory.mktemp("operators")
    write_schemas(TOOLS / "crds", made)
    return made


@pytest.mark.parametrize("version", ["1.33", "1.34"])
def test_kubernetes_and_the_operators_know_each_field(rendered: str, version: str, operators: Path) -> None:
    builtin = TOOLS / f"kube-schemas-{version}"
    if not builtin.is_dir():
        pytest.skip("no schemas: bash tests/chart/tools.sh brings them")
    found = subprocess.run(
        [
            tool("kubeconform"),
            "-strict",
            "-output",
            "json",
            *("-schema-location", f"{builtin}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"),
            *("-schema-location", f"{operators}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"),
        ],
        input=rendered,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert json.loads(found.stdout)["resources"] == [], found.stdout
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_matrix_renders_each_template_and_each_kind() -> None:
    text = "\n".join(template("--values", str(values)) for values in MATRIX)
    rendered = set(re.findall(r"^# Source: linkspan/templates/(.+)$", text, re.MULTILINE))
    files = {path.relative_to(CHART / "templates").as_posix() for path in (CHART / "templates").rglob("*.yaml")}
    assert files == rendered


def test_a_canary_is_egress_with_another_image_and_pods_of_its_own() -> None:
    more = (
        "--set",
        "egress.canary.enabled=true,egress.canary.tag=9.9.9,egress.canary.replicas=2,egress.preStopSeconds=7",
    )
    found = {one["metadata"]["name"]: one for one in manifests(template(*TRIAL, *more)) if one["kind"] == "Deployment"}
    stable, canary = found["linkspan-egress"]["spec"], found["linkspan-egress-canary"]["spec"]
    assert stable["selector"] != canary["selector"]
    assert canary["replicas"] == 2
    (one,), (other,) = (each["template"]["spec"]["containers"] for each in (stable, canary))
    assert other["image"] == f"{one['image'].rpartition(':')[0]}:9.9.9"
    assert {**one, "name": "", "image": ""} == {**other, "name": "", "image": ""}
    assert "egress.canary: set tag or digest" in refusal(*TRIAL, "--set", "egress.canary.enabled=true")


def test_a_field_that_nobody_knows_is_noticed(tmp_path: Path) -> None:
    """The judge above is not blind."""
    if not (TOOLS / "kube-schemas-1.34").is_dir():
        pytest.skip("no schemas: bash tests/chart/tools.sh brings them")
    wrong = template(*TRIAL).replace("  podManagementPolicy:", "  podManagementPolicies:")
    location = f"{TOOLS}/kube-schemas-1.34/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    found = subprocess.run(
        [tool("kubeconform"), "-strict", "-schema-location", location],
        input=wrong,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode != 0
    assert "podManagementPolicies" in found.stdout + found.stderr


def test_the_alerts_are_those_of_deploy_and_the_spool_can_be_asked_for() -> None:
    (rules,) = _of_kind("PrometheusRule", "--set", "monitoring.rules.enabled=true")
    groups = {group["name"]: group for group in rules["spec"]["groups"]}
    ours = yaml.safe_load((ROOT / "deploy/prometheus/linkspan.rules.yml").read_text())["groups"]
    assert [groups[group["name"]] for group in ours] == ours
    (spool,) = groups["linkspan-autoscaling"]["rules"]
    assert spool["record"] == "linkspan_spool_in_use"


def test_prometheus_understands_the_rules_and_the_query_of_the_autoscaler(tmp_path: Path) -> None:
    (rules,) = _of_kind("PrometheusRule", "--set", "monitoring.rules.enabled=true")
    (scaler,) = _of_kind("ScaledObject", "--set", "egress.autoscaling.enabled=true")
    (trigger,) = scaler["spec"]["triggers"]
    query = {"name": "query", "rules": [{"record": "linkspan_waiting", "expr": trigger["metadata"]["query"]}]}
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [*rules["spec"]["groups"], query]}))
    done = subprocess.run([tool("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboards_are_those_of_deploy() -> None:
    (boards,) = [
        found
        for found in _of_kind("ConfigMap", "--set", "monitoring.dashboards.enabled=true")
        if "dashboards" in found["metadata"]["name"]
    ]
    assert {name: json.loads(text) for name, text in boards["data"].items()} == {
        path.name: json.loads(path.read_text()) for path in (ROOT / "deploy/grafana").glob("*.json")
    }
    assert boards["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_another_integration_file_makes_the_pods_anew() -> None:
    assert _checksum() == _checksum()
    changed = _checksum("--set", "revision=third"), _checksum("--set-string", "integration.schemas.A\\.1\\.avsc=null")
    assert len({_checksum(), *changed}) == 3


def _checksum(*values: str) -> str:
    (ingress,) = _of_kind("StatefulSet", *values)
    return str(ingress["spec"]["template"]["metadata"]["annotations"]["linkspan/integration"])


def _of_kind(kind: str, *values: str) -> list[Manifest]:
    return [found for found in manifests(template(*TRIAL, *values)) if found["kind"] == kind]


def test_the_topics_are_looked_at_before_anything_is_changed() -> None:
    (job,) = _of_kind("Job", "--set", "topics.replication=3")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"][:2] == ["topics", "/etc/linkspan/integration/integration.yaml"]
    assert "--replication=3" in container["args"]
    maps = {found["metadata"]["name"]: found for found in _of_kind("ConfigMap")}
    (volume,) = [each for each in job["spec"]["template"]["spec"]["volumes"] if each["name"] == "integration"]
    before = maps[volume["configMap"]["name"]]
    assert before["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert before["data"] == maps["linkspan-integration"]["data"]


def test_an_upgrade_is_looked_at_before_it_starts() -> None:
    (first,) = _of_kind("Job")
    assert "initContainers" not in first["spec"]["template"]["spec"]
    (job,) = _of_kind("Job", "--is-upgrade")
    (before,) = job["spec"]["template"]["spec"]["initContainers"]
    assert before["args"] == ["compatible", "/etc/linkspan/integration/integration.yaml"]
    assert before["securityContext"]["readOnlyRootFilesystem"] is True


def test_no_replica_of_ingress_is_taken_away_while_a_spool_may_hold_messages() -> None:
    (blind,) = _of_kind("HorizontalPodAutoscaler", "--set", "ingress.autoscaling.enabled=true")
    assert blind["spec"]["behavior"]["scaleDown"]["selectPolicy"] == "Disabled"
    told = ("--set", "ingress.autoscaling.enabled=true,ingress.autoscaling.spoolMetric.name=linkspan_spool_in_use")
    (seeing,) = _of_kind("HorizontalPodAutoscaler", *told)
    _, external = seeing["spec"]["metrics"]
    # As a Value of 1, 1 asks for as many replicas as there are, and 0 for none; the highest wish counts.
    assert external["external"]["target"] == {"type": "Value", "value": "1"}
    assert "selectPolicy" not in seeing["spec"]["behavior"]["scaleDown"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ((), "integration.file"),
        (("--set", "reference.enabled=true"), "kafka.url"),
        ((*TRIAL, "--set", "mode=production"), "plainText"),
        (
            (
                *TRIAL,
                "--set",
                "mode=production,plainText=false,tls.existingSecret=t,kafka.url=kafka+ssl://k:1",
            ),
            "intake.mode",
        ),
        ((*TRIAL, "--set", "plainText=false"), "tls.existingSecret"),
        ((*TRIAL, "--set", "plainText=false,tls.existingSecret=t"), "kafka.url"),
        ((*TRIAL, "--set", "database.existingSecret="), "database.existingSecret"),
        ((*TRIAL, "--set", "encryption.existingSecret="), "encryption.existingSecret"),
        ((*TRIAL, "--set", "systems.a.existingSecret="), "systems.a"),
        ((*TRIAL, "--set", "systems.b.apiKeyKey="), "systems.b"),
        ((*TRIAL, "--set", "kafka.sasl.mechanism=PLAIN"), "kafka.sasl"),
        ((*TRIAL, "--set", "integration.existingConfigMap=b,integration.file=x"), "integration.existingConfigMap"),
        ((*TRIAL, "--set", "egress.replicas=9"), "egress.replicas: 9 replicas, but no flow has more than 8 partitions"),
        (
            (*TRIAL, "--set", "egress.autoscaling.enabled=true,egress.autoscaling.maxReplicas=9"),
            "egress.autoscaling.maxReplicas",
        ),
        (
            (*TRIAL, "--set", "egress.autoscaling.enabled=true,integration.existingConfigMap=b"),
            "integration.partitions",
        ),
        ((*TRIAL, "--set", "ingress.terminationGracePeriodSeconds=35"), "ingress.terminationGracePeriodSeconds"),
        ((*TRIAL, "--set", "image.tag=latest"), "image/tag"),
        ((*TRIAL, "--set", "ingress.replicaCount=3"), "replicaCount"),
        ((*TRIAL, "--set", "logLevel=loud"), "logLevel"),
        ((*TRIAL, "--set", "kafka.url=amqp://b"), "kafka/url"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(values: tuple[str, ...], field: str) -> None:
    said = refusal(*values)
    assert field in said or field.replace("/", ".") in said, said


def test_the_archive_is_off_unless_asked_for_and_then_all_who_replay_from_it_know_where_it_is() -> None:
    assert "archive" not in _variables(manifests(template(*TRIAL)))
    on = _variables(manifests(template(*TRIAL, "--set", "archive.enabled=true")))
    assert {name for name, variables in on.items() if "LINKSPAN_BLOBS" in variables} >= {"archive", "ingress", "egress"}
    assert not any("LINKSPAN_ARCHIVE" in variables for variables in on.values()), "it is beside the blobs"
    said = ("--set", "archive.enabled=true", "--set", "archive.url=s3://backups/linkspan")
    elsewhere = _variables(manifests(template(*TRIAL, *said)))
    told = {
        name for name, variables in elsewhere.items() if variables.get("LINKSPAN_ARCHIVE") == "s3://backups/linkspan"
    }
    assert told == {"archive", "ingress", "egress"}


def test_the_archive_runs_as_its_values_say() -> None:
    said = ("archive.enabled=true", "archive.every=30s", "archive.age=5m", "archive.keep=400d")
    release = manifests(template(*TRIAL, *(word for one in said for word in ("--set", one))))
    (archive,) = [found for found in workloads(release) if found.component == "archive"]
    arguments = archive.containers[0]["args"]
    assert arguments[:3] == ["archive", "run", "/etc/linkspan/integration/integration.yaml"]
    assert {"--every=30s", "--age=5m", "--keep=400d"} <= set(arguments)
    assert "archive.keep" in refusal(*TRIAL, "--set", "archive.keep=soon").replace("/", ".")


def _variables(release: list[Manifest]) -> dict[str, dict[str, str]]:
    """Of the first container of each workload, by component."""
    return {
        found.component: {one["name"]: one.get("value", "") for one in found.containers[0].get("env", ())}
        for found in workloads(release)
    }
