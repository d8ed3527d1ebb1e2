"""Reads what the tools of ``supply.sh`` wrote, and says it in a few lines."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path


def sbom(document: Path, lock: Path) -> str:
    """Raises SystemExit where a package of the lock is missing in the document."""
    made = json.loads(document.read_text())
    listed = {one["name"].lower().replace("_", "-"): one["version"] for one in made["components"]}
    locked = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE))
    missing = sorted(name for name in locked if name.lower().replace("_", "-") not in listed)
    if missing:
        raise SystemExit(f"sbom: {document} lacks {', '.join(missing)}")
    return f"{document}: CycloneDX {made['specVersion']}, {len(listed)} packages"


def audit(document: Path) -> int:
    """Exit code: 1 where something is known against a package."""
    packages = json.loads(document.read_text())["dependencies"]
    asked = [one for one in packages if "skip_reason" not in one]
    if not asked:
        sys.stderr.write("audit: skipped: the index has no advisories, not one package could be asked for\n")
        return 0
    found = [(one["name"], one["version"], bug) for one in asked for bug in one["vulns"]]
    for name, version, bug in found:
        fixed = ", ".join(bug["fix_versions"]) or "none"
        sys.stderr.write(f"audit: {name} {version}: {bug['id']}, mended in {fixed}\n")
    sys.stderr.write(f"audit: {len(found)} advisories against {len(asked)} of {len(packages)} packages\n")
    return 1 if found else 0


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    if command == "audit":
        sys.exit(audit(Path(paths[0])))
    sys.stdout.write(sbom(Path(paths[0]), Path(paths[1])) + "\n")
