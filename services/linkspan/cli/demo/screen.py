"""What the demo shows: progress while it runs, then the analysis, the times of each hop and where to look next."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from linkspan.cli.demo.stack import Ports
from linkspan.cli.demo.story import HOPS, Story

COLOURS = {"error": "red", "warning": "yellow", "info": "green"}


class LiveProgress:
    """On a terminal: a row a plan, a column a hop, seconds since the upload."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8)

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, stories: Sequence[Story]) -> None:
        table = Table(title="plans on their way (seconds since the upload)", title_justify="left")
        table.add_column("plan")
        for what, _, _ in HOPS:
            table.add_column(what, justify="right")
        for story in stories:
            table.add_row(story.name, *(_since(story, hop) for hop in range(len(HOPS))))
        self._live.update(table)


class LineProgress:
    """Where there is no terminal: a line a hop."""

    def __init__(self, console: Console) -> None:
        self._console, self._seen = console, set[tuple[str, int]]()

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def update(self, stories: Sequence[Story]) -> None:
        for story in stories:
            for hop, at in sorted(story.hops.items()):
                if (story.name, hop) not in self._seen:
                    self._seen.add((story.name, hop))
                    self._console.print(f"{at - story.uploaded:7.2f} s  {story.name}: {HOPS[hop][0]}")


def result(stories: Sequence[Story]) -> RenderableType:
    return Group(*(part for story in stories for part in (Text(), _analysis(story), _hops(story))))


def analyses(stories: Sequence[Story]) -> RenderableType:
    return Group(*(part for story in stories for part in (Text(), _analysis(story))))


def where_next(stories: Sequence[Story], ports: Ports, logs: Path) -> RenderableType:
    manager = ports.url("plan-manager")
    table = Table(title="where to look next", title_justify="left", show_header=False, box=None)
    for story in stories:
        table.add_row(f"page of {story.name}", f"{manager}/plans/{story.plan_id}")
    table.add_row("send a message yourself", f"{ports.url('ingress')}/docs")
    table.add_row("the two systems", f"{manager}/docs   {ports.url('analysis')}/")
    table.add_row("health", f"{ports.url('ingress')}/health   {ports.url('egress')}/health")
    table.add_row("Kafka", f"127.0.0.1:{ports.kafka} (topics plans.plan-uploaded.events, ….outcomes, …)")
    table.add_row("logs", str(logs))
    return table


def commands(stories: Sequence[Story], ports: Ports, data: Path) -> Text:
    """To be copied, so nothing may break their lines."""
    ours = Path(sys.executable).with_name("linkspan")
    linkspan = "linkspan" if shutil.which("linkspan") else shlex.quote(str(ours))
    lines = (
        "look at it from another terminal",
        " export LINKSPAN_PLAIN_TEXT=development",
        f" export LINKSPAN_CONTROL=127.0.0.1:{ports.control['ingress']}",
        f" export LINKSPAN_DATA={shlex.quote(str(data.absolute()))}",
        f" {linkspan} status --watch",
        f" {linkspan} message {stories[0].correlation_id}",
    )
    return Text("\n".join(lines))


def _since(story: Story, hop: int) -> str:
    if hop in story.hops:
        return f"{story.hops[hop] - story.uploaded:.2f}"
    return "refused" if story.reason and hop == 1 else "…"


def _analysis(story: Story) -> RenderableType:
    plan: dict[str, Any] = story.plan or {}
    analysis = plan.get("analysis")
    if not analysis:
        return Text(f"{story.name}: {plan.get('state')}: {plan.get('reason') or story.reason}", style="red")
    table = Table(
        title=f"{story.name}: {analysis['title']} ({analysis['category']}), {analysis['verdict']}", title_justify="left"
    )
    table.add_column("figure or recommendation", max_width=76)
    table.add_column("value", justify="right")
    table.add_column("unit")
    for figure in analysis["figures"]:
        table.add_row(figure["label"], _number(figure["value"]), figure["unit"] or "")
    table.add_section()
    for one in analysis["recommendations"]:
        text = Text(f"{one['severity']}: {one['text']}", style=COLOURS.get(one["severity"], ""))
        table.add_row(text, _number(one["figure"]), one["unit"] or "")
    return table


def _hops(story: Story) -> RenderableType:
    table = Table(title=f"correlation id {story.correlation_id}", title_justify="left")
    for heading, justify in (("hop", "left"), ("after the upload", "right"), ("took", "right")):
        table.add_column(heading, justify="right" if justify == "right" else "left")
    before = story.uploaded
    for hop, (what, _, _) in enumerate(HOPS):
        if hop in story.hops:
            at = story.hops[hop]
            table.add_row(what, f"{at - story.uploaded:.3f} s", f"{(at - before) * 1000:.0f} ms")
            before = at
    return table


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 1e6 else f"{value:,.0f}"
    return "" if value is None else str(value)


def console() -> Console:
    made = Console()
    return made if made.is_terminal else Console(width=120, no_color=True)
