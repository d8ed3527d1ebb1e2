"""The life of a release on a real node: installed, tested, upgraded, spoiled, restarted and rolled back under load.

One release goes through all of it, in the order of the tests; after each nothing may be lost, doubled or out of order.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.chart.cluster import NAMESPACE, Cluster, cluster, load_images, say
from tests.chart.load import Load, asked, asked_text
from tests.chart.rendered import CHART, ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
HERE = Path(__file__).parent
IMAGE = os.environ.get("LINKSPAN_IMAGE", "linkspan:dev")
VALUES = ("--values", str(HERE / "real.yaml"))
SECOND = ("--set", "image.tag=second,ingress.acceptWithoutKafka=true")
#: Variables that end a process at its start, as a mistake in a release's configuration would.
SPOILT = [
    f'--set-json={name}.extraEnv=[{{"name":"LINKSPAN_SESSION_SECONDS","value":"never"}}]'
    for name in ("ingress", "egress")
]


@dataclass
class Release:
    on: Cluster

    def helm(self, verb: str, *words: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
        values = () if "--reuse-values" in words else VALUES
        chart = (str(CHART), *values) if verb in {"install", "upgrade"} else ()
        return self.on.run("helm", verb, "linkspan", *chart, "--namespace", NAMESPACE, *words, seconds=seconds)

    def address(self, component: str) -> str:
        return str(self.on.found(f"service/linkspan-{component}")["spec"]["clusterIP"])

    def load(self, folder: Path) -> Load:
        return Load(self.address("ingress"), self.address("plan-manager"), folder)

    def images(self) -> set[str]:
        """Of the pods that run."""
        pods = self.on.found(
            "pods", "-l", "app.kubernetes.io/instance=linkspan", "--field-selector=status.phase=Running"
        )
        return {
            pod["spec"]["containers"][0]["image"] for pod in pods["items"] if "deletionTimestamp" not in pod["metadata"]
        }

    def runs(self, image: str) -> bool:
        """It alone; helm waits until the new pods are ready, and the old ones end a moment later."""
        end = time.monotonic() + 30
        while self.images() != {image} and time.monotonic() < end:
            time.sleep(0.5)
        return self.images() == {image}

    def replicas(self) -> dict[str, int]:
        found = self.on.found("statefulset,deployment", "-l", "app.kubernetes.io/instance=linkspan")["items"]
        return {each["metadata"]["name"]: each["spec"]["replicas"] for each in found}


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - began:.0f} s")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    for image in (IMAGE, "apache/kafka:4.3.1", "postgres:17"):
        if not shutil.which("docker") or _docker("image", "inspect", image).returncode != 0:
            pytest.skip(
                f"no image {image}: make image, and images/image-kafka.sh and image-postgres.sh of LINKSPAN_SHARED"
            )
    for tag in ("first", "second"):
        _docker("tag", IMAGE, f"linkspan:{tag}")
    with cluster("real") as on:
        load_images(on, "linkspan:first", "linkspan:second", "apache/kafka:4.3.1", "postgres:17")
        made = Release(on)
        with timed("Kafka and PostgreSQL"):
            on.kubectl("apply", "-f", str(HERE / "dependencies.yaml"))
            on.kubectl("apply", "-f", "-", given=_keyring(tmp_path_factory.mktemp("keys") / "keyring.yaml"))
            on.kubectl("rollout", "status", "deployment/kafka", "deployment/postgres", "--timeout", "180s", seconds=200)
        with timed("helm install --wait"):
            again = ("upgrade", "--install") if os.environ.get("LINKSPAN_CLUSTER") else ("install",)
            done = made.helm(*again, "--wait", "--timeout", "8m")
        assert done.returncode == 0, done.stderr + _story(on)
        assert "helm test linkspan" in done.stdout
        yield made
    _docker("rmi", "linkspan:first", "linkspan:second")


def _keyring(file: Path) -> str:
    """A secret with a new keyring."""
    made = [sys.executable, "-m", "linkspan", "keyring", "rotate", "--file", str(file)]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    secret = {"metadata": {"name": "keyring"}, "stringData": {"keyring.yaml": file.read_text()}}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", **secret})


def _docker(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=False, timeout=120)


def _story(on: Cluster) -> str:
    """What went on, for a failure."""
    pods = on.run("kubectl", "-n", NAMESPACE, "get", "pods", "-o", "wide").stdout
    events = on.run("kubectl", "-n", NAMESPACE, "get", "events", "--sort-by", ".lastTimestamp").stdout
    logs = on.run(
        "kubectl", "-n", NAMESPACE, "logs", "-l", "app.kubernetes.io/instance=linkspan", "--tail", "8", "--prefix"
    )
    return "\n".join((pods, events[-4000:], logs.stdout[-8000:]))


@pytest.fixture
def load(release: Release, tmp_path: Path) -> Iterator[Load]:
    """Runs while the test does; then everything that it sent must have arrived."""
    with release.load(tmp_path) as running:
        time.sleep(5)
        yield running
        time.sleep(5)
    with timed("until all of the load has arrived"):
        running.settled()
    say(
        f"{running.count} messages and {len(running.plans)} plans under way: nothing lost, each once"
        f"{', in order' * running.in_order}; asked again {running.again} times, longest wait {running.waited:.1f} s"
    )


def test_a_plan_goes_through_the_release_that_was_installed(release: Release) -> None:
    with timed("helm test"):
        done = release.helm("test", "--logs", "--timeout", "4m")
    assert done.returncode == 0, done.stdout + done.stderr + _story(release.on)
    assert "analysed" in done.stdout


def test_the_service_answers_health_on_port_80(release: Release) -> None:
    end = time.monotonic() + 60
    while True:  # a check has 3 s, which is little on a busy machine
        status, body = asked(release.address("ingress"), "GET", "/health")
        if status == 200:
            break
        assert time.monotonic() < end, body
        time.sleep(2)
    assert set(body["checks"]) == {"systemA", "systemB", "messageQueue", "database"}


def test_a_process_is_nobody_and_can_write_nowhere_but_on_its_volumes(release: Release) -> None:
    script = "id -u; for d in /opt /etc /data /tmp; do touch $d/x 2>/dev/null && echo $d; done; ls /var/run/secrets"
    said = release.on.run("kubectl", "-n", NAMESPACE, "exec", "linkspan-ingress-0", "--", "sh", "-c", script)
    assert said.stdout.split() == ["10001", "/data", "/tmp"]  # noqa: S108


def test_an_upgrade_under_load_loses_nothing(release: Release, load: Load) -> None:
    """Another image and another integration file: from then on the flow of the load is spooled while Kafka is away."""
    with timed("helm upgrade --wait, every process anew"):
        done = release.helm(
            "upgrade", "--wait", "--timeout", "6m", *SECOND, "--set-file", f"integration.file={_spooling(load.folder)}"
        )
    assert done.returncode == 0, done.stderr + _story(release.on)
    assert release.runs("linkspan:second"), _story(release.on)
    said = release.on.kubectl("exec", "linkspan-ingress-0", "--", "cat", "/etc/linkspan/integration/integration.yaml")
    assert "when_kafka_is_away: spool" in said


def _spooling(folder: Path) -> Path:
    text = (CHART / "files/integration.yaml").read_text()
    before = "  analysis-complete:\n"
    assert before in text
    file = folder / "integration.yaml"
    file.write_text(text.replace(before, f"{before}    when_kafka_is_away: spool\n"))
    return file


def test_an_upgrade_that_fails_goes_back_by_itself(release: Release, load: Load) -> None:
    with timed("helm upgrade --atomic that fails after 60 s"):
        done = release.helm("upgrade", "--atomic", "--timeout", "60s", "--reuse-values", *SPOILT)
    assert done.returncode != 0
    assert "rolled back" in done.stderr, done.stderr
    assert release.runs("linkspan:second"), _story(release.on)


def test_an_upgrade_whose_integration_cannot_be_read_touches_nothing(release: Release, load: Load) -> None:
    before = release.on.kubectl("get", "pods", "-o", "name", "-l", "app.kubernetes.io/component in (ingress,egress)")
    with timed("helm upgrade that the topics' job refuses"):
        done = release.helm(
            "upgrade",
            "--atomic",
            "--timeout",
            "90s",
            "--reuse-values",
            "--set",
            "integration.file=nonsense: {},topics.retries=0",
        )
    assert done.returncode != 0
    assert "pre-upgrade" in done.stderr, done.stderr
    assert before == release.on.kubectl(
        "get", "pods", "-o", "name", "-l", "app.kubernetes.io/component in (ingress,egress)"
    )


def test_a_rollout_restart_under_load_loses_nothing(release: Release, load: Load) -> None:
    names = ("statefulset/linkspan-ingress", "deployment/linkspan-egress", "deployment/linkspan-ledger")
    with timed("kubectl rollout restart of ingress, egress and ledger"):
        release.on.kubectl("rollout", "restart", *names)
        for name in names:
            release.on.kubectl("rollout", "status", name, "--timeout", "240s", seconds=260)


def test_the_rollback_script_stops_nothing_while_a_spool_cannot_be_drained(release: Release, load: Load) -> None:
    load.in_order = False  # two replicas spool; docs/ingress.md
    release.on.kubectl("scale", "deployment/kafka", "--replicas", "0")
    release.on.kubectl("wait", "pods", "-l", "app=kafka", "--for", "delete", "--timeout", "60s")
    end = time.monotonic() + 90
    while _spooled(release) < 10:
        assert time.monotonic() < end, "nothing is spooled"
        time.sleep(1)
    before = release.replicas()
    done = _rollback(release, "--timeout", "8")
    say(f"with Kafka away and {_spooled(release)} messages in spools: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 1
    assert "is not empty" in done.stderr
    assert release.replicas() == before
    release.on.kubectl("scale", "deployment/kafka", "--replicas", "1")
    release.on.kubectl("rollout", "status", "deployment/kafka", "--timeout", "120s", seconds=130)


def _spooled(release: Release) -> int:
    lines = asked_text(release.address("ingress"), "/metrics").splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith("linkspan_spool_messages{")))


def _rollback(release: Release, *words: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "scripts/rollback.sh")
    return release.on.run("bash", script, "--namespace", NAMESPACE, *words, "linkspan", seconds=600)


def test_the_rollback_script_brings_the_former_version_back(release: Release, load: Load) -> None:
    release.on.kubectl("scale", "deployment/linkspan-egress", "--replicas", "1")
    before = release.replicas()
    with timed("scripts/rollback.sh"):
        done = _rollback(release)
    say(done.stderr.replace("\n", "\n    "))
    assert done.returncode == 0, done.stderr + _story(release.on)
    assert release.runs("linkspan:first"), _story(release.on)
    assert release.replicas() == before


def test_everything_is_accounted_for(release: Release) -> None:
    """Read from Kafka itself, after all of the above."""
    words = (
        "exec",
        "deployment/linkspan-egress",
        "--",
        "linkspan",
        "audit",
        "/etc/linkspan/integration/integration.yaml",
    )
    end = time.monotonic() + 120
    while (done := release.on.run("kubectl", "-n", NAMESPACE, *words)).returncode != 0:
        assert time.monotonic() < end, done.stdout + done.stderr
        time.sleep(3)
    say("linkspan audit: " + " ".join(done.stdout.split())[:300])
