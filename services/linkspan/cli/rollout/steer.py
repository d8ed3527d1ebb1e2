"""``linkspan rollout status``, ``stop`` and ``finish``."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError

from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.cli.output import Output, ranges
from linkspan.cli.rollout.look import of_egress, partitions_by_version
from linkspan.cli.rollout.place import Place, at_kafka
from linkspan.cli.rollout.start import File, caller, quiet
from linkspan.control.rollouts import Rollout
from linkspan.kernel.commands import ROLLOUT_FINISH, ROLLOUT_STOP, Command
from linkspan.kernel.errors import KafkaAway

Why = Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept in the audit trail.")]


def status(
    file: File = Path("integration.yaml"),
    *,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to answer.")] = Output.TEXT,
) -> None:
    """Show the rollout that is in force, and which version delivers which partitions."""
    found = _asked(file, None, "")
    typer.echo(json.dumps(found, indent=2) if output is Output.JSON else _text(found))


def stop(file: File = Path("integration.yaml"), *, reason: Why) -> None:
    """Give all partitions back to the old version."""
    typer.echo(_asked(file, ROLLOUT_STOP, reason)["result"])


def finish(file: File = Path("integration.yaml"), *, reason: Why) -> None:
    """Forget the rollout: from here on it does not matter which version a replica is of.

    When the new version is in the place of the old one, or the new one is taken away again.
    """
    typer.echo(_asked(file, ROLLOUT_FINISH, reason)["result"])


def _asked(file: Path, kind: str | None, reason: str) -> dict[str, Any]:
    quiet()
    try:
        return asyncio.run(_run(file, kind, reason))
    except (KafkaError, TimeoutError, OSError) as error:
        raise KafkaAway(f"Kafka does not answer ({error}); is MESSAGE_QUEUE_URL right, and is it running?") from error


async def _run(file: Path, kind: str | None, reason: str) -> dict[str, Any]:
    async with at_kafka(file, os.environ) as place:
        if kind is None:
            return await _document(place)
        current = place.state.rollouts.current
        if current is None:
            raise CommandEnded("no rollout is in force", ExitCode.NO)
        given = await place.give(Command(kind, by=caller(), reason=reason, plan=current.id))
        if not given.verdict.effective:
            raise CommandEnded(given.verdict.result, ExitCode.NO)
        return {"result": given.verdict.result}


async def _document(place: Place) -> dict[str, Any]:
    current, replicas = place.state.rollouts.current, of_egress(await place.view.replicas())
    versions = {one["version"]: 0 for one in replicas}
    for one in replicas:
        versions[one["version"]] += 1
    delivers = {
        flow: {version: sorted(numbers) for version, numbers in partitions_by_version(replicas, flow).items()}
        for flow in place.integration.flows
    }
    return {"rollout": None if current is None else _rollout(current), "replicas": versions, "delivers": delivers}


def _rollout(current: Rollout) -> dict[str, Any]:
    plan, stopped = current.plan, current.stopped
    return {
        "state": current.state,
        "to": plan.to,
        "before": plan.before,
        "share": current.share,
        "since": datetime.fromtimestamp(current.since / 1e6, UTC).isoformat(),
        "stages": list(plan.stages),
        "flows": list(plan.flows),
        "by": current.started.by,
        "reason": current.started.reason,
        "stopped": None if stopped is None else {"by": stopped.by, "reason": stopped.reason},
    }


def _text(found: dict[str, Any]) -> str:
    one = found["rollout"]
    lines = ["no rollout is in force"]
    if one is not None:
        lines = [f"rollout from {one['before']} to {one['to']}: {one['state']}, {one['share']} % since {one['since']}"]
        if one["stopped"]:
            lines.append(f"stopped by {one['stopped']['by']}: {one['stopped']['reason']}")
    lines += [f"{version}: {count} egress" for version, count in sorted(found["replicas"].items())]
    for flow, versions in found["delivers"].items():
        for version, numbers in sorted(versions.items()):
            lines.append(f"{flow}: {version} delivers {ranges(numbers) or 'nothing'}")
    return "\n".join(lines)
