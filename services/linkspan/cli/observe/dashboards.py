"""The dashboards for Grafana: what is on them, and the JSON that Grafana imports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_WIDTH, _HEIGHT = 8, 8
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_RATE = "[$__rate_interval]"
#: Of the per-flow dashboard; the others have none.
_FLOW = '{flow=~"$flow"}'


@dataclass(frozen=True, slots=True)
class Panel:
    """``queries``: PromQL and the name of its lines. ``unit``: Grafana's; ``now``: only the last value, as a number."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    about: str = ""
    now: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """``uid`` is also the name of its file."""

    uid: str
    title: str
    panels: tuple[Panel, ...]
    per_flow: bool = False


def dashboards() -> list[Dashboard]:
    return [
        Dashboard("linkspan-overview", "Linkspan: overview", tuple(_overview())),
        Dashboard("linkspan-flow", "Linkspan: one flow", tuple(_flow()), per_flow=True),
        Dashboard("linkspan-incident", "Linkspan: after an incident", tuple(_incident())),
    ]


def dashboard_json(dashboard: Dashboard) -> str:
    found = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["linkspan"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h" if dashboard.uid.endswith("incident") else "now-1h", "to": "now"},
        "templating": {"list": list(_variables(dashboard))},
        "links": [{"type": "dashboards", "tags": ["linkspan"], "title": "Linkspan", "asDropdown": True}],
        "panels": [_panel(number, panel) for number, panel in enumerate(dashboard.panels)],
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _variables(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    if dashboard.per_flow:
        query = "label_values(linkspan_in_flight, flow)"
        yield {
            "name": "flow",
            "type": "query",
            "datasource": _SOURCE,
            "query": {"query": query, "refId": "flow"},
            "refresh": 2,
            "label": "Flow",
        }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, 24 // _WIDTH)
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": _SOURCE,
            "expr": query,
            "legendFormat": legend,
            "exemplar": "_bucket" in query,
            "instant": panel.now,
        }
        for index, (query, legend) in enumerate(panel.queries)
    ]
    return {
        "id": number + 1,
        "title": panel.title,
        "description": panel.about,
        "type": "stat" if panel.now else "timeseries",
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def _quantiles(metric: str, by: str = "", where: str = "") -> tuple[tuple[str, str], ...]:
    buckets = f"sum by (le{', ' + by if by else ''}) (rate({metric}_bucket{where}{_RATE}))"
    name = f"{{{{{by}}}}} " if by else ""
    return tuple((f"histogram_quantile({q}, {buckets})", f"{name}p{q * 100:.0f}") for q in (0.5, 0.95, 0.99))


def _overview() -> Iterator[Panel]:
    yield Panel("Processes that answer", "none", (('sum by (job) (up{job=~"linkspan.*"})', "{{job}}"),), now=True)
    yield Panel(
        "Breakers", "none", (("max by (system, to) (linkspan_breaker_state)", "{{system}} {{to}}"),), "0: asked."
    )
    yield Panel("Unaccounted", "none", (("sum by (flow) (linkspan_unaccounted)", "{{flow}}"),), "Must be 0.", now=True)
    yield Panel("Accepted", "reqps", ((f"sum by (flow) (rate(linkspan_accepted_total{_RATE}))", "{{flow}}"),))
    outcomes = f'sum by (flow) (rate(linkspan_outcomes_total{{kind="delivered"}}{_RATE}))'
    yield Panel("Delivered", "reqps", ((outcomes, "{{flow}}"),))
    failed = f'sum by (flow, result) (rate(linkspan_attempts_total{{result!~"delivered|withheld"}}{_RATE}))'
    yield Panel("Attempts that failed", "reqps", ((failed, "{{flow}} {{result}}"),))
    waiting = "sum by (flow) (linkspan_in_flight) + sum by (flow) (linkspan_lag)"
    yield Panel("Messages that wait", "none", ((waiting, "{{flow}}"),))
    oldest = "max by (flow) (linkspan_oldest_unfinished_seconds)"
    yield Panel("Age of the oldest undelivered", "s", ((oldest, "{{flow}}"),))
    yield Panel("From acceptance to delivery", "s", _quantiles("linkspan_end_to_end_seconds", "flow"))
    refused = f"sum by (reason) (rate(linkspan_refused_total{_RATE}))"
    yield Panel("Refused at ingress", "reqps", ((refused, "{{reason}}"),))
    yield Panel("Messages in the spool", "none", (("sum by (flow) (linkspan_spool_messages)", "{{flow}}"),))
    yield Panel("The ledger is behind", "none", (("sum by (flow) (linkspan_ledger_lag)", "{{flow}}"),))
    archive = "max by (flow, what) (linkspan_archive_lag_seconds)"
    yield Panel("Not archived yet: age", "s", ((archive, "{{flow}} {{what}}"),))
    yield Panel("Event loop delay", "s", _quantiles("linkspan_event_loop_delay_seconds", "job"))
    yield Panel("Memory", "bytes", (("sum by (job) (process_resident_memory_bytes)", "{{job}}"),))
    yield Panel("CPU", "none", ((f"sum by (job) (rate(process_cpu_seconds_total{_RATE}))", "{{job}}"),), "Cores.")


def _flow() -> Iterator[Panel]:
    def rate(metric: str, by: str, legend: str, where: str = _FLOW) -> tuple[tuple[str, str], ...]:
        return ((f"sum by ({by}) (rate({metric}{where}{_RATE}))", legend),)

    yield Panel("Accepted, appended", "reqps", (
        *rate("linkspan_accepted_total", "flow", "accepted"),
        *rate("linkspan_appended_total", "flow", "appended"),
        *rate("linkspan_known_total", "flow", "known already"),
    ))  # fmt: skip
    yield Panel("Outcomes", "reqps", rate("linkspan_outcomes_total", "kind", "{{kind}}"))
    yield Panel("Attempts", "reqps", rate("linkspan_attempts_total", "result", "{{result}}"))
    yield Panel("From acceptance to delivery", "s", _quantiles("linkspan_end_to_end_seconds", where=_FLOW))
    yield Panel("The destination's round trip", "s", _quantiles("linkspan_destination_seconds", "destination", _FLOW))
    mean = " / ".join(
        f"sum by (stage) (rate(linkspan_stage_seconds_{part}{_FLOW}{_RATE}))" for part in ("sum", "count")
    )
    yield Panel("Stages, on average", "s", ((mean, "{{stage}}"),))
    yield Panel("In flight, not fetched", "none", (
        (f"sum by (flow) (linkspan_in_flight{_FLOW})", "in flight"),
        (f"sum by (flow) (linkspan_lag{_FLOW})", "not fetched"),
    ))  # fmt: skip
    yield Panel("Oldest undelivered, by partition", "s", (
        (f"max by (partition) (linkspan_oldest_unfinished_seconds{_FLOW})", "{{partition}}"),
    ))  # fmt: skip
    yield Panel("Held keys", "none", ((f"sum by (flow) (linkspan_held_keys{_FLOW})", "held keys"),))
    yield Panel("Lookups", "reqps", rate("linkspan_lookups_total", "result", "{{result}}"))
    yield Panel("Message size", "bytes", _quantiles("linkspan_message_bytes", where=_FLOW))
    yield Panel("Throttled", "reqps", rate("linkspan_rate_limits_total", "system, limit", "{{system}} {{limit}}", ""))
    yield Panel("Conversations", "none", ((f"sum by (state) (linkspan_conversations{_FLOW})", "{{state}}"),))
    yield Panel("Until the answer", "s", _quantiles("linkspan_round_trip_seconds", where=_FLOW))
    reach = f"min by (flow) (linkspan_duplicate_window_seconds{_FLOW})"
    yield Panel("How far back ids are known", "s", ((reach, "at least"),))


def _incident() -> Iterator[Panel]:
    yield Panel("Dead letters that wait", "none", (("sum by (flow) (linkspan_dead_letters)", "{{flow}}"),), now=True)
    oldest = "max by (flow) (linkspan_dead_letter_oldest_seconds)"
    yield Panel("The oldest of them", "s", ((oldest, "{{flow}}"),), now=True)
    yield Panel("Keys held", "none", (("sum by (flow) (linkspan_held_keys)", "{{flow}}"),), now=True)
    dead = f"sum by (flow, reason) (increase(linkspan_dead_lettered_total{_RATE}))"
    yield Panel("New dead letters", "none", ((dead, "{{flow}} {{reason}}"),))
    kinds = '{kind=~"redriven|discarded|expired|superseded"}'
    decided = f"sum by (flow, kind) (increase(linkspan_outcomes_total{kinds}{_RATE}))"
    yield Panel("Redriven, discarded, expired", "none", ((decided, "{{flow}} {{kind}}"),))
    opened = f"sum by (system, to) (increase(linkspan_breaker_opened_total{_RATE}))"
    yield Panel("Breakers opened", "none", ((opened, "{{system}} {{to}}"),))
    yield Panel("Unaccounted, by egress", "none", (("sum by (flow) (linkspan_unaccounted)", "{{flow}}"),))
    yield Panel("Unaccounted, by the ledger", "none", (("sum by (flow) (linkspan_ledger_unaccounted)", "{{flow}}"),))
    yield Panel("Not looked at yet", "none", (("sum by (flow) (linkspan_unaccounted_unchecked)", "{{flow}}"),))
    yield Panel("Replays under way", "none", (("sum by (flow) (linkspan_replay_active)", "{{flow}}"),))
    replayed = f"sum by (flow, disposition) (increase(linkspan_replay_records_total{_RATE}))"
    yield Panel("What replays looked at", "none", ((replayed, "{{flow}} {{disposition}}"),))
    gone = f"sum by (flow) (increase(linkspan_gone_total{_RATE}))"
    yield Panel("Deleted by retention before delivery", "none", ((gone, "{{flow}}"),), "Must be 0.")
    spooled = f"sum by (flow) (increase(linkspan_spooled_total{_RATE}))"
    yield Panel("Spooled", "none", ((spooled, "{{flow}}"),))
    yield Panel("The spool's oldest", "s", (("max(linkspan_spool_oldest_seconds)", "oldest"),))
    failures = f"sum by (what) (increase(linkspan_ledger_failures_total{_RATE}))"
    yield Panel("The ledger began anew", "none", ((failures, "{{what}}"),))
