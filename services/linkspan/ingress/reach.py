"""Whether a system can be reached at all: a TCP connection, as that is what every kind of system has."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from linkspan.kernel.lifecycle import Check
from linkspan.kernel.spec import Integration, System

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def system_checks(integration: Integration) -> dict[str, Check]:
    """``systemA`` and ``systemB``: the two systems in the file's order."""
    return {
        f"system{letter}": _check(system) for letter, system in zip("AB", integration.systems.values(), strict=False)
    }


def _check(system: System) -> Check:
    parts = urlsplit(system.url)
    host, port = parts.hostname, parts.port or _PORTS[parts.scheme]

    async def check() -> str | None:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            return f"{host}:{port} cannot be reached: {error.strerror or error}"
        writer.close()
        return None

    return check
