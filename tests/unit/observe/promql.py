"""What a query asks for: the metrics and labels that it names."""

from __future__ import annotations

import re

from linkspan.cli.observe.metrics_page import declared

#: Made by Prometheus itself, or by the client library for every process.
OTHERS = {"up": {"job", "instance"}, "process_resident_memory_bytes": set(), "process_cpu_seconds_total": set()}
OF_TARGETS = {"job", "instance"}

_SELECTOR = re.compile(r"\b((?:linkspan|process)_\w+|up)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left)\s*\(([^)]*)\)")


def faults(query: str) -> list[str]:
    """What it names that there is not."""
    known = {series: {*one.labels} for one in declared() for series in one.series}
    labels = {series: found | ({"le"} if series.endswith("_bucket") else set()) for series, found in known.items()}
    labels |= OTHERS
    found, named = [], set[str]()
    selectors = _SELECTOR.findall(query)
    if not selectors:
        return [f"no metric in {query}"]
    for name, matchers in selectors:
        if name not in labels:
            found.append(f"no metric {name}")
            continue
        its = labels[name] | OF_TARGETS
        named |= its
        found += [f"{name} has no label {one}" for one in _MATCHER.findall(matchers) if one not in its]
    for group in _GROUPING.findall(query):
        wanted = {label.strip() for label in group.split(",") if label.strip()}
        found += [f"no metric here has the label {label}" for label in sorted(wanted - named)]
    return found
