"""How this replica's flows stand, for its status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from linkspan.egress.flow import FlowService
from linkspan.kernel.codec import Datum


class EgressStatus:
    """Called once a second, as rates are since the call before."""

    def __init__(self, services: Sequence[FlowService], applied: Callable[[], int]) -> None:
        self._services, self._applied = [_Counted(service) for service in services], applied

    def say(self) -> Datum:
        owners = [owner for one in self._services for owner in one.service.member.owners() if owner.active]
        waiting = [offset for owner in owners if (offset := owner.waiting_command) is not None]
        return {"control": min([self._applied(), *waiting]), "flows": [one.status() for one in self._services]} | {
            "replays": [said for one in self._services for said in one.service.replays.status()]
        }


class _Counted:
    """A flow, and what it had done at the last record."""

    def __init__(self, service: FlowService) -> None:
        self.service = service
        self._at = 0.0
        self._delivered = self._failed = 0

    def status(self) -> dict[str, Any]:
        service, pipeline = self.service, self.service.pipeline
        now = asyncio.get_running_loop().time()
        seconds = max(now - self._at, 0.001)
        delivered, failed = pipeline.delivered - self._delivered, pipeline.failed - self._failed
        self._at, self._delivered, self._failed = now, pipeline.delivered, pipeline.failed
        owners = [owner for owner in service.member.owners() if owner.active]
        return {
            "flow": service.name,
            "destination": service.destination,
            "partitions": sorted(owner.partition for owner in owners),
            "delivered": delivered / seconds,
            "failed": failed / seconds,
            "lag": sum(owner.behind for owner in owners),
            "window": sum(owner.state.unfinished for owner in owners),
            "attempts": sum(owner.attempts for owner in owners),
            "heldKeys": sum(len(owner.state.memory.holds) for owner in owners),
            "breaker": pipeline.breaker.mode.name.lower(),
            "reason": pipeline.breaker.reason,
            "accepted": 0.0,
            "oldest": min((at for owner in owners if (at := owner.state.oldest_accepted()) is not None), default=None),
        }
