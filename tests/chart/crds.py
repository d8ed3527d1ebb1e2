"""The operators' kinds as JSON schemas for kubeconform, from the definitions that ``tools.sh`` brings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml


def write_schemas(definitions: Path, to: Path) -> None:
    """A file for each kind and version, named as kubeconform looks for it."""
    to.mkdir(parents=True, exist_ok=True)
    for file in sorted(definitions.glob("*.yaml")):
        for definition in yaml.safe_load_all(file.read_text()):
            spec = definition["spec"]
            group = spec["group"].split(".")[0]
            for version in spec["versions"]:
                schema = _strict(version["schema"]["openAPIV3Schema"])
                schema["properties"] |= {"metadata": {"type": "object"}}
                name = f"{spec['names']['kind'].lower()}-{group}-{version['name']}.json"
                (to / name).write_text(json.dumps(schema))


def _strict(node: Any) -> Any:
    """With every unknown field a fault, as the API server's strict validation has it."""
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {name: _strict(item) for name, item in node.items() if not name.startswith("x-kubernetes-")}
    if node.get("x-kubernetes-int-or-string"):
        made.pop("anyOf", None)
        made["type"] = ["integer", "string"]
    open_ended = node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
    if isinstance(node.get("properties"), dict) and node.get("type") == "object" and not open_ended:
        made["additionalProperties"] = False
    return made
