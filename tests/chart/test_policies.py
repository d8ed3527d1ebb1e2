"""What every rendered release promises to whoever lets it into a cluster."""

from __future__ import annotations

import re

import pytest
from tests.chart.rendered import Manifest, Workload, workloads

pytestmark = pytest.mark.chart

SERVING = {"ingress", "egress", "ledger", "insight", "archive", "plan-manager", "analysis"}


def _each(release: list[Manifest]) -> list[Workload]:
    found = list(workloads(release))
    assert {"ingress", "egress"} <= {workload.component for workload in found}
    return found


def test_no_process_is_root_or_may_become_it(release: list[Manifest]) -> None:
    for workload in _each(release):
        pod = workload.spec["securityContext"]
        assert pod["runAsNonRoot"] is True, workload.name
        assert pod["runAsUser"] > 0, workload.name
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, workload.name
        for container in workload.containers:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, workload.name
            assert own["capabilities"] == {"drop": ["ALL"]}, workload.name
            assert own["readOnlyRootFilesystem"] is True, workload.name


def test_no_pod_shares_anything_with_its_node(release: list[Manifest]) -> None:
    for workload in _each(release):
        assert not [field for field in ("hostNetwork", "hostPID", "hostIPC") if workload.spec.get(field)], workload.name
        assert not [volume for volume in workload.spec["volumes"] if "hostPath" in volume], workload.name
        assert not [p for c in workload.containers for p in c.get("ports", ()) if "hostPort" in p], workload.name


def test_no_pod_has_a_token_of_the_api_server(release: list[Manifest]) -> None:
    for workload in _each(release):
        assert workload.spec["automountServiceAccountToken"] is False, workload.name
    for account in release:
        if account["kind"] == "ServiceAccount":
            assert account["automountServiceAccountToken"] is False
        assert account["kind"] not in {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}


def test_no_variable_is_made_of_a_service(release: list[Manifest]) -> None:
    """A service called linkspan would set LINKSPAN_PORT, which means something else."""
    for workload in _each(release):
        assert workload.spec["enableServiceLinks"] is False, workload.name


def test_each_container_says_what_it_needs_and_its_limit(release: list[Manifest]) -> None:
    for workload in _each(release):
        for container in workload.containers:
            for part in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][part].keys(), f"{workload.name} {part}"


def test_each_image_has_a_version(release: list[Manifest]) -> None:
    for workload in _each(release):
        for container in workload.containers:
            image = container["image"]
            name, _, tag = image.rpartition(":") if "@" not in image else ("", "", image.partition("@")[2])
            assert tag, image
            assert tag != "latest", image
            assert "/" not in tag or name == "", image


def test_each_process_is_watched_by_probes(release: list[Manifest]) -> None:
    serving = [workload for workload in _each(release) if workload.component in SERVING]
    for workload in serving:
        (container,) = workload.containers
        for probe, path in (("livenessProbe", "/live"), ("startupProbe", "/live")):
            assert container[probe]["httpGet"]["path"] == path, workload.name
        assert container["readinessProbe"]["httpGet"]["path"] in {"/ready", "/live"}
        encrypted = any(entry["name"] == "LINKSPAN_TLS_CERT" for entry in container["env"])
        assert container["livenessProbe"]["httpGet"]["scheme"] == ("HTTPS" if encrypted else "HTTP")


def test_a_process_is_told_to_stop_after_its_service_forgot_it_and_has_time_to(release: list[Manifest]) -> None:
    for workload in _each(release):
        if workload.component not in {"ingress", "egress"}:
            continue
        (container,) = workload.containers
        before = container["lifecycle"]["preStop"]
        waits = before["sleep"]["seconds"] if "sleep" in before else int(before["exec"]["command"][-1])
        assert waits > 0
        assert workload.spec["terminationGracePeriodSeconds"] >= waits + 30, workload.name


def test_no_secret_is_in_the_release_nor_in_a_variable(rendered: str, release: list[Manifest]) -> None:
    """Secrets are files, of secrets that are only named."""
    assert not [found["metadata"]["name"] for found in release if found["kind"] == "Secret"]
    for workload in workloads(release):
        for container in workload.containers:
            names = [entry["name"] for entry in container.get("env", ())]
            secret = [name for name in names if re.search("SECRET|PASSWORD|API_KEY|DATABASE_URL|CLIENT_ID", name)]
            assert not [name for name in secret if not name.endswith("_FILE")], workload.name
            folders = [mount["mountPath"] for mount in container["volumeMounts"]]
            files = [entry["value"] for entry in container.get("env", ()) if entry["name"].endswith("_FILE")]
            assert not [file for file in files if file.rpartition("/")[0] not in folders], workload.name
    assert not re.search(r"postgresql://\S+:\S+@", rendered)


def test_what_is_written_lies_on_a_volume(release: list[Manifest]) -> None:
    for workload in _each(release):
        volumes = {volume["name"]: volume for volume in workload.spec["volumes"]}
        for container in workload.containers:
            mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert "/tmp" in mounted.values(), workload.name  # noqa: S108
            assert mounted.keys() <= volumes.keys() | {"data"}, workload.name
            assert len(mounted) == len(container["volumeMounts"]), workload.name


def test_the_spool_outlives_its_replica_and_the_release(release: list[Manifest]) -> None:
    (ingress,) = [found for found in release if found["kind"] == "StatefulSet"]
    (claim,) = ingress["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "data"
    (container,) = ingress["spec"]["template"]["spec"]["containers"]
    assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
    assert {"name": "LINKSPAN_DATA", "value": "/data"} in container["env"]
    kept = ingress["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert kept == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert ingress["spec"]["podManagementPolicy"] == "Parallel"


def test_names_are_no_longer_than_a_label_may_be(release: list[Manifest]) -> None:
    assert not [found["metadata"]["name"] for found in release if len(found["metadata"]["name"]) > 63]
    long = [value for found in release for value in found["metadata"].get("labels", {}).values() if len(value) > 63]
    assert not long


def test_each_service_finds_pods_and_answers_on_port_80(release: list[Manifest]) -> None:
    pods = [workload.metadata["labels"] for workload in workloads(release)]
    services = [found["spec"] for found in release if found["kind"] == "Service"]
    for spec in services:
        assert [labels for labels in pods if spec["selector"].items() <= labels.items()]
        if spec.get("clusterIP") != "None":
            assert {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"} in spec["ports"]


def test_selectors_never_change_with_a_version(release: list[Manifest]) -> None:
    for found in release:
        if found["kind"] in {"Deployment", "StatefulSet", "PodDisruptionBudget"}:
            assert set(found["spec"]["selector"]["matchLabels"]) == {
                "app.kubernetes.io/name",
                "app.kubernetes.io/instance",
                "app.kubernetes.io/component",
            }


def test_there_is_one_object_of_a_name(release: list[Manifest]) -> None:
    names = [(found["kind"], found["metadata"]["name"]) for found in release]
    assert len(names) == len(set(names))


def test_objects_name_their_namespace(release: list[Manifest]) -> None:
    assert {found["metadata"]["namespace"] for found in release} == {"bridge"}
