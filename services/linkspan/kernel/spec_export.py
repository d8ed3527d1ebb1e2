"""The integration file's JSON Schema, for editors: completion and checks while a person writes."""

from __future__ import annotations

from typing import Any

from linkspan.kernel.spec import Integration

ADDRESS = "urn:linkspan:integration-file"
_FROM_ENVIRONMENT = {"type": "string", "pattern": r"\$\{[A-Z][A-Z0-9_]*(:-[^}]*)?\}", "title": "From the environment"}


def json_schema() -> dict[str, Any]:
    """Draft 2020-12; where a number stands, ``${NAME}`` and ``${NAME:-3}`` are taken too."""
    schema = _open(Integration.model_json_schema(by_alias=True, mode="validation"))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": ADDRESS, **schema}


def _open(node: Any) -> Any:
    if isinstance(node, list):
        return [_open(item) for item in node]
    if not isinstance(node, dict):
        return node
    opened = {
        name: _open(item)
        for name, item in node.items()
        if not (name == "default" and item is None) and not (name == "gt" and "anyOf" in node)
    }
    if opened.get("type") in ("integer", "number"):
        kept = {name: opened.pop(name) for name in ("title", "description", "default") if name in opened}
        return {**kept, "anyOf": [opened, _FROM_ENVIRONMENT]}
    return opened
