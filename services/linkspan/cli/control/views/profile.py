"""How a profile looks: the stages, and the slowest operations."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from linkspan.cli.control.listing import Column, Listing
from linkspan.cli.control.screen import Screen, took
from linkspan.control.v1.commands_pb2 import GetProfileResponse


def profile_view(found: GetProfileResponse, address: str, screen: Screen) -> RenderableType:
    detailed = ", with detailed timings" if found.detailed_timings else ""
    measured = (
        f"measures {found.sample_rate:.2%} of the messages{detailed}" if found.sample_rate else "measures nothing"
    )
    parts: list[RenderableType] = [Text(f"{address} {measured}", "bold")]
    if found.stages:
        stages = Listing(
            Column("stage"), Column("count", right=True), Column("mean", right=True), Column("longest", right=True)
        )
        for one in found.stages:
            seconds = one.total.seconds + one.total.nanos / 1e9
            stages.add(one.name, one.count, _fine(seconds / max(one.count, 1)), took(one.longest))
        parts += [Text(), stages]
    if found.slowest_operations:
        slowest = Listing(Column("slowest"), Column("took", right=True), Column("at"), Column("message id", spare=1))
        for slow in found.slowest_operations:
            slowest.add(slow.stage, took(slow.took), screen.exact(slow.at), slow.message_id or "-")
        parts += [Text(), slowest]
    if found.stalls:
        stalls = Listing(Column("event loop held up for", right=True), Column("at"), Column("by", spare=1))
        for stall in found.stalls:
            stalls.add(took(stall.took), screen.exact(stall.at), _culprit(stall.stack))
        parts += [Text(), stalls, Text("the whole stacks: --output json", "dim")]
    return Group(*parts)


def _culprit(stack: str) -> str:
    """The innermost line of ours, and the innermost of all."""
    lines = [line for line in stack.splitlines() if line]
    ours = [line for line in lines if "/linkspan/" in line]
    named = dict.fromkeys([*ours[-1:], *lines[-1:]])
    return " > ".join(line.rsplit("/linkspan/", 1)[-1].rsplit("/site-packages/", 1)[-1] for line in named)


def _fine(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} µs" if seconds < 0.001 else f"{seconds * 1000:,.1f} ms"
