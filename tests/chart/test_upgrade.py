"""An upgrade from the last released chart is possible: what nobody may change is as it was, and no value is gone."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chart.rendered import CHART, ROOT, Manifest, manifests, template

pytestmark = pytest.mark.chart
TRIAL = Path(__file__).parent / "matrix" / "trial.yaml"

#: Fields of spec that the API server does not let change.
FIXED = {
    "StatefulSet": ("serviceName", "podManagementPolicy", "selector", "volumeClaimTemplates"),
    "Deployment": ("selector",),
    "PersistentVolumeClaim": ("accessModes", "storageClassName"),
    "Service": ("clusterIP",),
}


def _released() -> tuple[str, Path] | None:
    """The last tag that has a chart."""
    tags = subprocess.run(["git", "tag", "--sort=-creatordate"], cwd=ROOT, capture_output=True, text=True, check=False)
    for tag in tags.stdout.split():
        found = subprocess.run(
            ["git", "cat-file", "-e", f"{tag}:helm/linkspan"], cwd=ROOT, capture_output=True, check=False
        )
        if found.returncode == 0:
            return tag, CHART.relative_to(ROOT)
    return None


@pytest.fixture
def former(tmp_path: Path) -> Path:
    found = _released()
    if found is None:
        pytest.skip("no tag has a chart yet: there is nothing to upgrade from")
    tag, path = found
    archive = subprocess.run(["git", "archive", tag, str(path)], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path / path


def _parts(found: list[Manifest]) -> Iterator[tuple[str, Any]]:
    for manifest in found:
        for name in FIXED.get(manifest["kind"], ()):
            yield f"{manifest['kind']}/{manifest['metadata']['name']} {name}", manifest["spec"].get(name)


def _changed(before: list[Manifest], after: list[Manifest]) -> list[str]:
    """What cannot be changed and was. An object that is new, or gone, is neither."""
    now = dict(_parts(after))
    return [part for part, value in _parts(before) if part in now and now[part] != value]


def _values(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, node in schema.get("properties", {}).items():
        yield f"{path}{name}"
        yield from _values(node, f"{path}{name}.")


def _gone(before: Path, after: Path) -> set[str]:
    known = [set(_values(json.loads((chart / "values.schema.json").read_text()))) for chart in (before, after)]
    return known[0] - known[1]


def test_what_cannot_be_changed_is_as_it_was(former: Path) -> None:
    before, after = template("--values", str(TRIAL), chart=former), template("--values", str(TRIAL))
    assert not _changed(manifests(before), manifests(after))


def test_no_value_is_gone(former: Path) -> None:
    assert not _gone(former, CHART)


def test_the_comparison_notices_what_breaks_an_upgrade(tmp_path: Path) -> None:
    """As long as there is no release, against a chart that is the present one with two mistakes made."""
    other = tmp_path / "linkspan"
    shutil.copytree(CHART, other)
    names = other / "templates" / "_names.tpl"
    names.write_text(names.read_text().replace("app.kubernetes.io/component:", "component:"))
    schema = json.loads((other / "values.schema.json").read_text())
    del schema["properties"]["revision"]
    schema["properties"]["restart"] = {"type": "string", "description": "Another name.", "default": ""}
    (other / "values.schema.json").write_text(json.dumps(schema))
    (other / "values.yaml").write_text((CHART / "values.yaml").read_text().replace("revision:", "restart:"))
    found = manifests(template("--values", str(TRIAL)))
    changed = _changed(found, manifests(template("--values", str(TRIAL), chart=other)))
    assert "StatefulSet/linkspan-ingress selector" in changed
    assert "Deployment/linkspan-egress selector" in changed
    assert _gone(CHART, other) == {"revision"}
