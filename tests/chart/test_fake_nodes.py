"""The matrix through a real API server with strict validation, and the controllers that act on what the chart makes.

Nothing runs on the nodes: pods are objects that become ready.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.chart.cluster import NAMESPACE, Cluster, cluster
from tests.chart.rendered import CHART, MATRIX, TOOLS, template

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]
MATRIX_OF = Path(__file__).parent / "matrix"


@pytest.fixture(scope="module")
def fake() -> Iterator[Cluster]:
    with cluster("fake") as made:
        for definition in sorted((TOOLS / "crds").glob("*.yaml")):
            made.done("kubectl", "create", "-f", str(definition))
        made.done("kubectl", "wait", "--for", "condition=Established", "crd", "--all", "--timeout", "60s")
        yield made


@pytest.mark.parametrize("values", MATRIX, ids=lambda path: path.stem)
def test_the_api_server_takes_every_object_strictly(fake: Cluster, values: Path) -> None:
    text = template("--values", str(values))
    said = fake.done("kubectl", "apply", "--dry-run=server", "--validate=strict", "-f", "-", given=text)
    assert said.count("(server dry run)") == text.count("\nkind: ")


def test_a_field_that_it_does_not_know_is_refused(fake: Cluster) -> None:
    text = template("--values", str(MATRIX_OF / "trial.yaml")).replace("  podManagementPolicy:", "  podManagement:")
    said = fake.run("kubectl", "apply", "--dry-run=server", "--validate=strict", "-f", "-", given=text)
    assert said.returncode != 0
    assert 'unknown field "spec.podManagement"' in said.stderr


@pytest.fixture(scope="module")
def scaled(fake: Cluster) -> Cluster:
    """A release whose ingress is scaled on CPU from 1 to 4, with a metric for its spool that nobody serves."""
    fake.done(
        *("helm", "install", "scaled", str(CHART), "--namespace", NAMESPACE),
        *("--values", str(MATRIX_OF / "smallest.yaml"), "--wait", "--timeout", "90s"),
        *("--set", "ingress.autoscaling.enabled=true,ingress.autoscaling.minReplicas=1"),
        *("--set", "ingress.autoscaling.maxReplicas=4,ingress.autoscaling.scaleInAfterSeconds=0"),
        *("--set", "ingress.autoscaling.spoolMetric.name=linkspan_spool_in_use"),
    )
    return fake


def test_ingress_grows_with_its_load_and_never_shrinks_unseen(scaled: Cluster) -> None:
    """The metric cannot be read: Kubernetes then takes nothing away, whatever the CPU says."""
    _until(lambda: _busy(scaled) == 4, "ingress is not scaled out", 240)
    _burn(scaled, "1m")
    _until(lambda: _says(scaled, "ScalingActive", "FailedGetExternalMetric"), "the metric's absence is not noticed")
    held = time.monotonic() + 40
    while time.monotonic() < held:
        assert _replicas(scaled) == 4
        time.sleep(2)


def test_a_drained_node_takes_one_replica_at_a_time(scaled: Cluster) -> None:
    scaled.done(
        *("helm", "upgrade", "scaled", str(CHART), "--namespace", NAMESPACE, "--reuse-values", "--wait"),
        *("--timeout", "90s", "--set", "egress.disruptionBudget.enabled=true,egress.replicas=2"),
    )
    _until(lambda: _budget(scaled) == 1, "the budget does not see its pods")


def _budget(on: Cluster) -> int:
    return int(on.found("poddisruptionbudget/scaled-linkspan-egress")["status"].get("disruptionsAllowed", -1))


def _busy(on: Cluster) -> int:
    """Keeps the new ones busy too, as a load that is shared out would."""
    _burn(on, "900m")
    return _replicas(on)


def _burn(on: Cluster, cpu: str) -> None:
    on.kubectl(
        *("annotate", "pods", "--overwrite", "-l", "app.kubernetes.io/component=ingress"),
        *(f"kube-ci/cpu={cpu}", "kube-ci/memory=64Mi"),
    )


def _replicas(on: Cluster) -> int:
    return int(on.found("statefulset/scaled-linkspan-ingress")["spec"]["replicas"])


def _says(on: Cluster, kind: str, reason: str) -> bool:
    status = on.found("horizontalpodautoscaler/scaled-linkspan-ingress")["status"]
    text = str([each for each in status.get("conditions", ()) if each["type"] == kind])
    return reason in text


def _until(holds: Callable[[], bool], otherwise: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, otherwise
        time.sleep(1)
