"""Says when a breaker opens, probes and closes: a log line, and its metrics."""

from __future__ import annotations

import structlog

from linkspan.kernel.resilience.breaker import Breaker, Mode
from linkspan.kernel.telemetry.metrics import BREAKER_OPENED, BREAKER_STATE

log = structlog.get_logger()


class BreakerTold:
    """``look`` after whatever may have changed ``breaker``. ``to``: the flow, or the lookup, that it stands before."""

    def __init__(self, breaker: Breaker, system: str, to: str) -> None:
        self._breaker = breaker
        self._facts = {"system": system, "to": to}
        self._mode = Mode.CLOSED
        self._state = BREAKER_STATE.labels(system, to)
        self._opened = BREAKER_OPENED.labels(system, to)
        self._state.set(self._mode)

    def look(self) -> None:
        mode, before = self._breaker.mode, self._mode
        if mode is before:
            return
        self._mode = mode
        self._state.set(mode)
        if before is Mode.CLOSED:
            self._opened.inc()
            log.warning("breaker open: delivery waits", **self._facts, reason=self._breaker.reason)
        elif mode is Mode.OPEN:
            log.info("breaker open again", **self._facts, reason=self._breaker.reason)
        elif mode is Mode.PROBING:
            log.info("breaker half-open: probing", **self._facts, reason=self._breaker.reason)
        else:
            log.info("breaker closed: delivery goes on, from one at a time", **self._facts)
