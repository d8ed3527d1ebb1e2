"""Do senders reach more than one replica at the address that they are given?"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp

from linkspan.cli.preflight.finding import Finding
from linkspan.cli.preflight.target import Target
from linkspan.kernel.tls.trusted import client_context

_REPLICAS = 2
#: New connections, so that a balancer has its choice.
_ASKED = 24
_SECONDS = aiohttp.ClientTimeout(total=8)


async def balancer(target: Target) -> AsyncIterator[Finding]:
    running = Counter(one.service for one in (await target.status()).replicas)
    for service in ("ingress", "egress"):
        if running[service] < _REPLICAS:
            yield Finding(service, f"{running[service]} replicas run", f"run {_REPLICAS} or more: one may be lost")
    if target.url is None:
        yield Finding("--url", "no address of ingress is given", "say where senders reach it")
        return
    answers = await asyncio.gather(*(_replica(target.url) for _ in range(_ASKED)))
    wrong = [one for one in answers if isinstance(one, Exception)]
    reached = {one for one in answers if isinstance(one, str)}
    if wrong:
        fault = f"{len(wrong)} of {_ASKED} connections failed: {wrong[0] or type(wrong[0]).__name__}"
        yield Finding(target.url, fault, "see that only ready replicas are behind it")
    elif len(reached) < min(_REPLICAS, running["ingress"]):
        fault = f"{_ASKED} connections all reached {', '.join(reached)}"
        yield Finding(target.url, fault, "see that every replica is behind it")
    else:
        yield Finding(target.url, said=f"{len(reached)} replicas answer")


async def _replica(url: str) -> str | Exception:
    connector = aiohttp.TCPConnector(ssl=client_context(), force_close=True)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=_SECONDS) as session,
            session.get(f"{url}/live", allow_redirects=False) as answer,
        ):
            answer.raise_for_status()
            return str((await answer.json())["replica"])
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
        return error
