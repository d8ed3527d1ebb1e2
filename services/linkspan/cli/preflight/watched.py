"""Would somebody be woken?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import yaml

from linkspan.cli.observe.alerts import rules_file
from linkspan.cli.observe.thresholds import Thresholds
from linkspan.cli.preflight.finding import Finding
from linkspan.cli.preflight.target import Target
from linkspan.kernel.tls.trusted import client_context

#: One series for each process.
_PROCESSES = "linkspan_event_loop_delay_seconds_count"
_SECONDS = aiohttp.ClientTimeout(total=10)


async def alerts(target: Target) -> AsyncIterator[Finding]:
    if target.prometheus is None:
        yield Finding("--prometheus", "no address is given", "say where Prometheus is asked")
        return
    connector = aiohttp.TCPConnector(ssl=client_context())
    async with aiohttp.ClientSession(target.prometheus, timeout=_SECONDS, connector=connector) as session:
        loaded = _by_name(await _asked(session, "/api/v1/rules"))
        managers = (await _asked(session, "/api/v1/alertmanagers"))["activeAlertmanagers"]
        scraped = len((await _asked(session, "/api/v1/query", query=_PROCESSES))["result"])
    for name in sorted(expected_alerts()):
        if name not in loaded:
            yield Finding(name, "is not loaded", "load deploy/prometheus/linkspan.rules.yml")
        elif loaded[name]["health"] == "err":
            yield Finding(name, f"cannot be evaluated: {loaded[name].get('lastError', '')}", "mend the rule")
        elif loaded[name]["state"] == "firing":
            yield Finding(name, "is firing now", loaded[name]["annotations"].get("runbook", "see its runbook"))
    if not managers:
        yield Finding("Alertmanager", "Prometheus knows none", "nobody would be told: configure alerting")
    running = len((await target.status()).replicas)
    if scraped < running:
        fault = f"has the metrics of {scraped} processes, and {running} run"
        yield Finding("Prometheus", fault, "scrape every one (docs/observability.md)")
    else:
        yield Finding("Prometheus", said=f"{len(loaded)} alerts of Linkspan, metrics of {scraped} processes")


def expected_alerts() -> set[str]:
    said = yaml.safe_load(rules_file(Thresholds()))
    return {rule["alert"] for group in said["groups"] for rule in group["rules"]}


async def _asked(session: aiohttp.ClientSession, path: str, **query: str) -> Any:
    async with session.get(path, params=query) as answer:
        answer.raise_for_status()
        return (await answer.json())["data"]


def _by_name(rules: Any) -> dict[str, Any]:
    found = [rule for group in rules["groups"] for rule in group["rules"]]
    return {rule["name"]: rule for rule in found if rule["name"].startswith("Linkspan")}
