"""How this replica stands, for its status."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from linkspan.ingress.append.appender import Appender
from linkspan.ingress.flows import FlowIntake
from linkspan.kernel.codec import Datum


class IngressStatus:
    """Called once a second, as rates are since the call before. ``spooled``: messages in the spool."""

    def __init__(self, flows: Iterable[FlowIntake], appender: Appender, spooled: Callable[[], int]) -> None:
        self._flows, self._appender, self._spooled = list(flows), appender, spooled
        self._before = {flow.name: appender.accepted(flow.name) for flow in self._flows}
        self._at = time.monotonic()

    def say(self) -> Datum:
        now = time.monotonic()
        seconds, self._at = max(now - self._at, 0.001), now
        return {"spooled": self._spooled(), "flows": [self._flow(flow, seconds) for flow in self._flows]}

    def _flow(self, flow: FlowIntake, seconds: float) -> dict[str, Any]:
        accepted = self._appender.accepted(flow.name)
        rate, self._before[flow.name] = (accepted - self._before[flow.name]) / seconds, accepted
        nothing = {"delivered": 0.0, "failed": 0.0, "lag": 0, "window": 0, "attempts": 0, "heldKeys": 0}
        named = {"flow": flow.name, "destination": flow.spec.to, "partitions": []}
        return named | nothing | {"breaker": "closed", "reason": None, "accepted": rate, "oldest": None}
