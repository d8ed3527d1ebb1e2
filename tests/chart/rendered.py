"""The chart as Helm renders it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "linkspan"
MATRIX = sorted((Path(__file__).parent / "matrix").glob("*.yaml"))
TOOLS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linkspan-tools"

Manifest = dict[str, Any]


def tool(name: str) -> str:
    """Its path; the test is skipped where it is nowhere."""
    found = shutil.which(name) or shutil.which(name, path=str(TOOLS))
    if found is None:
        pytest.skip(f"{name} is neither on PATH nor in {TOOLS}: bash tests/chart/tools.sh brings it")
    return found


#: What Helm takes the cluster for where it asks none; one that was built from its module knows no better than 1.20.
KUBERNETES = "1.34.0"


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("helm"), *arguments], capture_output=True, text=True, check=False, timeout=60)


def template(*arguments: str, chart: Path = CHART) -> str:
    """What would be applied, as YAML. ``arguments``: of helm template."""
    done = helm("template", "linkspan", str(chart), "--kube-version", KUBERNETES, "--namespace", "bridge", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(*arguments: str) -> str:
    """What Helm says where it renders nothing."""
    done = helm("template", "linkspan", str(CHART), "--kube-version", KUBERNETES, *arguments)
    assert done.returncode != 0, "it rendered"
    return done.stderr


def manifests(text: str) -> list[Manifest]:
    return [found for found in yaml.load_all(text, yaml.CSafeLoader) if found]


@dataclass(frozen=True, slots=True)
class Workload:
    """A manifest that makes pods, and their template."""

    name: str
    kind: str
    component: str
    metadata: Manifest
    spec: Manifest

    @property
    def containers(self) -> list[Manifest]:
        return [*self.spec["containers"], *self.spec.get("initContainers", ())]


def workloads(found: list[Manifest]) -> Iterator[Workload]:
    for manifest in found:
        pod = manifest if manifest["kind"] == "Pod" else manifest.get("spec", {}).get("template", {})
        if manifest["kind"] in {"Pod", "Deployment", "StatefulSet", "Job", "DaemonSet", "CronJob"}:
            component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
            name = f"{manifest['kind']}/{manifest['metadata']['name']}"
            yield Workload(name, manifest["kind"], component, pod["metadata"], pod["spec"])
