"""Egress that says it is another version: the same code, and a file of its own where it is to do something else."""

from __future__ import annotations

import sys

from tests.integration.egress.bridge import Bridge, EgressProcess

_RUN = (
    "import sys, linkspan; linkspan.__version__ = sys.argv.pop(1)\n"
    "import typer; from linkspan.egress.main import egress; typer.run(egress)"
)
#: Of replicas in tests: a takeover from one that is gone need not last longer.
SESSION = "6"


class VersionedEgress(EgressProcess):
    """``linkspan egress`` of this version."""

    def __init__(self, bridge: Bridge, version: str, *arguments: str, **environ: str) -> None:
        super().__init__(bridge, arguments, {"LINKSPAN_SESSION_SECONDS": SESSION} | environ)
        self.version = version

    def command(self) -> list[str]:
        return [sys.executable, "-c", _RUN, self.version]
