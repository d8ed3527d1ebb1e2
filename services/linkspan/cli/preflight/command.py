"""``linkspan preflight``."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linkspan.cli.control.command import Operator, operated
from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.cli.output import Output
from linkspan.kernel.errors import LinkspanError, UserMistake

if TYPE_CHECKING:
    from linkspan.cli.preflight.finding import Check, Finding
    from linkspan.cli.preflight.target import Target

#: A check that takes longer has failed, seconds.
_LONGEST = 45.0


@operated
def preflight(  # noqa: PLR0913 - the options of a command
    operator: Operator,
    file: Annotated[Path, typer.Argument(help="The integration.yaml that is deployed.", show_default=False)],
    *,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Where senders reach ingress.")] = None,
    prometheus: Annotated[str | None, typer.Option(metavar="URL", help="Where Prometheus is asked.")] = None,
    rollback_plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="How to go back; it names the version that runs now.")
    ] = None,
    scan_report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What pip-audit said of the image, as JSON.")
    ] = None,
    skip: Annotated[list[str] | None, typer.Option(metavar="CHECK", help="Leave this out; may be repeated.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="CHECK", help="Only this; may be repeated.")] = None,
) -> None:
    """Go through the deployment checklist against what is running, and say what fails.

    The environment is that of this command: run it as a Job with the deployment's own. Exit code 1: something fails.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    from linkspan.cli.preflight.checks import CHECKS

    chosen = _chosen(CHECKS, only, skip)
    target = _target(operator, file, url)
    target.prometheus, target.rollback_plan, target.scan_report = prometheus, rollback_plan, scan_report
    found = asyncio.run(_all(chosen, target))
    _say(operator.output, found)
    if any(one.fault for findings in found.values() for one in findings):
        raise typer.Exit(ExitCode.NO)


def _chosen(checks: dict[str, Check], only: list[str] | None, skip: list[str] | None) -> dict[str, Check]:
    for name in [*(only or ()), *(skip or ())]:
        if name not in checks:
            raise UserMistake(f"there is no check {name}; there are {', '.join(checks)}")
    return {name: check for name, check in checks.items() if name in (only or checks) and name not in (skip or ())}


def _target(operator: Operator, file: Path, url: str | None) -> Target:
    from linkspan.cli.preflight.target import Target
    from linkspan.kernel.config import Settings, read_settings
    from linkspan.kernel.lined_yaml import InvalidFile
    from linkspan.kernel.spec_file import load_integration

    if url is not None and not url.startswith(("https://", "http://")):
        raise UserMistake(f"--url {url}: expected an address such as https://linkspan.example.org")
    session, environ = operator.session, dict(os.environ)
    os.environ.pop("LINKSPAN_PLAIN_TEXT", None)  # a fault of what is deployed, and no reason to look at nothing else
    settings: Settings = read_settings()
    integration, faults = None, []
    try:
        integration = load_integration(file, os.environ)
    except InvalidFile as error:
        faults = str(error).splitlines()
    return Target(file, environ, settings, integration, faults, session, url.rstrip("/") if url else None)


async def _all(checks: dict[str, Check], target: Target) -> dict[str, list[Finding]]:
    found = await asyncio.gather(*(_one(check, target) for check in checks.values()))
    return dict(zip(checks, found, strict=True))


async def _one(check: Check, target: Target) -> list[Finding]:
    """What keeps a check from being made is a fault of what it is about."""
    from linkspan.cli.preflight.finding import Finding

    found: list[Finding] = []
    try:
        async with asyncio.timeout(_LONGEST):
            async for one in check(target):
                found.append(one)  # noqa: PERF401 - what was found before it breaks counts
    except TimeoutError:
        found.append(Finding("", f"no answer within {_LONGEST:g} s", "see that it runs and is reachable"))
    except (CommandEnded, LinkspanError, OSError) as error:
        found.append(Finding("", str(error) or type(error).__name__, "see that it runs and is reachable"))
    return found


def _say(output: Output, found: dict[str, list[Finding]]) -> None:
    failed = sum(any(one.fault for one in findings) for findings in found.values())
    if output is Output.JSON:
        checks = {name: [asdict(one) for one in findings] for name, findings in found.items()}
        typer.echo(json.dumps({"passed": not failed, "checks": checks}, indent=2))
        return
    for name, findings in found.items():
        faults = [one for one in findings if one.fault]
        typer.echo(f"{'FAILS ' if faults else 'passes'}  {name}")
        for one in faults or findings:
            said = ": ".join(part for part in (one.about, one.fault or one.said) if part)
            typer.echo(f"          {said}{f'. {one.mend}' if one.mend else ''}")
    typer.echo(f"{failed} of {len(found)} checks fail" if failed else f"all {len(found)} checks pass")
