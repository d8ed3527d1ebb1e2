"""``linkspan metrics``, ``alerts`` and ``dashboards``: what watches Linkspan, generated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def metrics() -> None:
    """Print the list of all metrics, with unit, labels and meaning (Markdown)."""
    from linkspan.cli.observe.metrics_page import metrics_page

    typer.echo(metrics_page(), nl=False)


def alerts(  # noqa: PLR0913, PLR0917 - the options of a command
    low_rate: Annotated[float, typer.Option(help="Messages a second, below: LinkspanRateLow.", min=0)] = 10,
    high_rate: Annotated[float, typer.Option(help="Messages a second, above: LinkspanRateHigh.", min=0)] = 1_000,
    hours: Annotated[
        str, typer.Option(help="When traffic is expected, UTC: FIRST-LAST; never: a low rate is no alert.")
    ] = "6-20",
    days: Annotated[str, typer.Option(help="On which days: 1-5 is Monday to Friday, 0-6 all.")] = "1-5",
    error_ratio: Annotated[float, typer.Option(help="Share of attempts that fail.", min=0, max=1)] = 0.05,
    p95_seconds: Annotated[float, typer.Option(help="From acceptance to delivery.", min=0)] = 2,
    queue_depth: Annotated[int, typer.Option(help="Messages of a flow that wait.", min=0)] = 10_000,
    oldest_seconds: Annotated[float, typer.Option(help="Age of the oldest undelivered message.", min=0)] = 300,
    held_seconds: Annotated[float, typer.Option(help="Since when a key is held.", min=0)] = 3_600,
    certificate_days: Annotated[float, typer.Option(help="Until a certificate ends.", min=0)] = 30,
    key_days: Annotated[float, typer.Option(help="Age of an encryption key.", min=0)] = 90,
    pace: Annotated[float, typer.Option(help="Shortens all durations, for drills: 0.01.", min=0.001, max=1)] = 1.0,
    runbooks: Annotated[str, typer.Option(help="Address of the page of runbooks.")] = "docs/runbooks/alerts.md",
) -> None:
    """Print the alerts as a file of rules for Prometheus."""
    from linkspan.cli.observe.alerts import rules_file
    from linkspan.cli.observe.thresholds import Thresholds

    thresholds = Thresholds(
        low_rate,
        high_rate,
        hours,
        days,
        error_ratio,
        p95_seconds,
        queue_depth,
        oldest_seconds,
        held_seconds,
        certificate_days,
        key_days,
        pace,
        runbooks,
    )
    typer.echo(rules_file(thresholds), nl=False)


def dashboards(
    folder: Annotated[Path, typer.Argument(help="Where the files go.", file_okay=False)] = Path("deploy/grafana"),
) -> None:
    """Write the dashboards as JSON files that Grafana imports."""
    from linkspan.cli.observe.dashboards import dashboard_json
    from linkspan.cli.observe.dashboards import dashboards as all_of_them

    folder.mkdir(parents=True, exist_ok=True)
    for one in all_of_them():
        (folder / f"{one.uid}.json").write_text(dashboard_json(one))
        typer.echo(f"wrote {folder / one.uid}.json")
