"""``python -m bench.silent egress FILE …``: the same program whose metrics count nothing, for a comparison."""

from __future__ import annotations

from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from linkspan.cli.main import main
from linkspan.kernel.telemetry.declared import Durations

_SILENCED = (
    (Counter, "inc"),
    (Gauge, "inc"),
    (Gauge, "dec"),
    (Gauge, "set"),
    (Histogram, "observe"),
    (Durations, "observe_all"),
    (Durations, "note"),
    (Durations, "example"),
)


def _nothing(*_: Any, **__: Any) -> None:
    """Instead of counting."""


if __name__ == "__main__":
    for metric, name in _SILENCED:
        setattr(metric, name, _nothing)
    main()
