"""Is there a limit to what one sender, and each system, gets from us?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from linkspan.cli.preflight.finding import Finding
from linkspan.cli.preflight.target import Target
from linkspan.ingress.settings import IngressSettings
from linkspan.kernel.config import read_settings


async def rate_limits(target: Target) -> AsyncIterator[Finding]:
    rate = read_settings(IngressSettings).linkspan_intake_rate
    if not rate:
        fault = "is not set: one sender may take all of ingress"
        yield Finding("LINKSPAN_INTAKE_RATE", fault, "set how many messages a second a sender may have")
    for name, system in target.integration.systems.items() if target.integration else ():
        if system.throttle is None or system.throttle.rate is None:
            fault = "gets as many requests a second as there are messages"
            yield Finding(f"system {name}", fault, "throttle: {rate: …} in the integration file")
