"""Against what a deployment is checked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from linkspan.kernel.config import Settings
from linkspan.kernel.spec import Integration

if TYPE_CHECKING:
    from linkspan.cli.control.session import Session
    from linkspan.control.v1.status_pb2 import GetStatusResponse

#: A certificate that ends sooner is a fault, days.
RENEW_DAYS = 30


@dataclass
class Target:
    """``url``: where senders reach ingress, without a path. ``faults``: of the integration file, None where it could
    be read."""

    file: Path
    environ: Mapping[str, str]
    settings: Settings
    integration: Integration | None
    file_faults: list[str]
    session: Session
    url: str | None = None
    prometheus: str | None = None
    rollback_plan: Path | None = None
    scan_report: Path | None = None
    _status: asyncio.Task[GetStatusResponse] | None = field(default=None, repr=False)

    async def status(self) -> GetStatusResponse:
        """Asked once. Raises CommandEnded where no control API answers."""
        if self._status is None:
            self._status = asyncio.create_task(asyncio.to_thread(self._asked))
        return await asyncio.shield(self._status)

    def _asked(self) -> GetStatusResponse:
        from linkspan.control.v1.status_pb2 import GetStatusRequest

        return self.session.ask(self.session.api.GetStatus, GetStatusRequest())
