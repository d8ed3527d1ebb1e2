"""A version of Linkspan that does not exist yet: the same code, with newer schemas."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from tests.integration.egress.bridge import Bridge, EgressProcess

from linkspan.kernel.schemas import COMMON, SchemaCatalog, packaged_schemas

_RUN = (
    "import sys; from pathlib import Path; from linkspan.kernel import schemas\n"
    "root = Path(sys.argv.pop(1)); schemas.packaged_schemas = lambda: root\n"
    "import typer; from linkspan.egress.main import egress; typer.run(egress)"
)
#: What the newer version has beside the released one, a field each, and new symbols of the first enum.
ADDED = {
    "Position": {"name": "shards", "type": {"type": "array", "items": "long"}, "default": []},
    "Outcome": {"name": "weight", "type": "double", "default": 0.5},
    "Command": {"name": "scope", "type": ["null", "string"], "default": None},
    "Status": {"name": "shelf", "type": "string", "default": "top"},
    "Hold": {"name": "why", "type": "string", "default": ""},
    "Metadata": {"name": "zone", "type": "string", "default": "north"},
    "Ids": {"name": "salt", "type": "bytes", "default": ""},
}
SYMBOLS = {"Outcome": ["postponed"], "Command": ["freeze", "thaw", "paint"]}


def newer_schemas(folder: Path) -> Path:
    """All released files, and one newer version of the records in ``ADDED``."""
    root = folder / "newer-schemas"
    shutil.copytree(packaged_schemas(), root)
    released = SchemaCatalog(packaged_schemas())
    for name, field in ADDED.items():
        newest = released.latest(COMMON, name)
        schema = json.loads(newest.path.read_text())
        schema["fields"].append(field)
        for one in schema["fields"]:
            if isinstance(one["type"], dict) and one["type"]["type"] == "enum":
                one["type"]["symbols"] += SYMBOLS.get(name, [])
        (root / COMMON / f"{name}.{newest.version + 1}.avsc").write_text(json.dumps(schema))
    return root


class NewerEgress(EgressProcess):
    """``linkspan egress`` of the newer version."""

    def __init__(self, bridge: Bridge, schemas: Path, *arguments: str, **environ: str) -> None:
        super().__init__(bridge, arguments, environ)
        self._schemas = schemas

    def command(self) -> list[str]:
        return [sys.executable, "-c", _RUN, str(self._schemas)]


__all__ = ["ADDED", "SYMBOLS", "NewerEgress", "newer_schemas"]
