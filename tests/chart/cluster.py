"""A Kubernetes on this machine, and what is asked of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.chart.rendered import ROOT, TOOLS, tool

SHARED = Path(os.environ.get("LINKSPAN_SHARED") or ROOT.parent / "shared") / "kubernetes"
NAMESPACE = "bridge"


def say(text: str) -> None:
    """A line of the run's story; make cluster-test shows it."""
    sys.stderr.write(f"::: {time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class Cluster:
    """``environment`` has KUBECONFIG, and kubectl and helm on PATH."""

    directory: Path
    environment: dict[str, str]

    def run(self, *command: str, seconds: float = 120, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment, input=given, capture_output=True, text=True, check=False, timeout=seconds
        )

    def done(self, *command: str, seconds: float = 120, given: str | None = None) -> str:
        """What it printed; fails the test where the command does."""
        ended = self.run(*command, seconds=seconds, given=given)
        assert ended.returncode == 0, f"{' '.join(command[:6])} …\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
        return ended.stdout

    def kubectl(self, *words: str, seconds: float = 120, given: str | None = None) -> str:
        return self.done("kubectl", "--namespace", NAMESPACE, *words, seconds=seconds, given=given)

    def found(self, *words: str) -> dict[str, Any]:
        """``kubectl get … -o json``."""
        answer: dict[str, Any] = json.loads(self.kubectl("get", *words, "-o", "json"))
        return answer


@contextmanager
def cluster(node: str) -> Iterator[Cluster]:
    """``node``: fake or real; ended with the block. Skips the test where it cannot be had."""
    script, executables = SHARED / "cluster.sh", TOOLS.parent / "kube-ci" / "bin"
    if not script.is_file():
        pytest.skip(f"no {script}; LINKSPAN_SHARED says where it is")
    if not (executables / ".kube").is_file():
        pytest.skip(f"no Kubernetes in {executables}: bash {SHARED}/build.sh builds it (10 minutes)")
    base = {**os.environ, "PATH": f"{executables}:{Path(tool('helm')).parent}:{os.environ['PATH']}"}
    if os.environ.get("LINKSPAN_CLUSTER"):  # one that is up already, with its images; it is left up
        there = Path(os.environ["LINKSPAN_CLUSTER"])
        made = Cluster(there, base | {"KUBECONFIG": str(there / "kubeconfig")})
        made.run("kubectl", "create", "namespace", NAMESPACE)
        yield made
        return
    directory = Path(tempfile.mkdtemp(prefix="kube-", dir="/tmp"))
    began = time.monotonic()
    try:
        up = ["bash", str(script), "--node", node, "up", str(directory)]
        patient = os.environ | {"KUBE_WAIT": os.environ.get("KUBE_WAIT", "300")}
        started = subprocess.run(up, env=patient, capture_output=True, text=True, check=False, timeout=600)
        assert started.returncode == 0, started.stderr[-4000:]
        made = Cluster(directory, base | {"KUBECONFIG": str(directory / "kubeconfig")})
        made.done("kubectl", "create", "namespace", NAMESPACE)
        say(f"Kubernetes is up after {time.monotonic() - began:.0f} s ({node} node)")
        yield made
    finally:
        subprocess.run(["bash", str(script), "down", str(directory)], capture_output=True, check=False, timeout=300)
        shutil.rmtree(directory, ignore_errors=True)


def load_images(on: Cluster, *images: str) -> None:
    if os.environ.get("LINKSPAN_CLUSTER"):
        return
    began = time.monotonic()
    on.done("bash", str(SHARED / "cluster.sh"), "load", str(on.directory), *images, seconds=900)
    say(f"{len(images)} images are loaded after {time.monotonic() - began:.0f} s")
