"""``linkspan send-plan``: a plan to a plan manager that runs somewhere, and what became of it."""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from pathlib import Path
from typing import Annotated

import aiohttp
import typer
from rich.console import Console

from linkspan.cli.demo import screen
from linkspan.cli.demo.command import PLANS, write_plans
from linkspan.cli.demo.plan_manager_client import PlanManagerClient, plan_manager_client
from linkspan.cli.demo.story import Story
from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.kernel.config import read_settings
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.tls.plain import check_addresses
from linkspan.reference.credentials import development_default

_ASK_AGAIN = 0.3


def send_plan(
    files: Annotated[
        list[Path] | None, typer.Argument(help="IFC or DXF files; by default two are drawn.", show_default=False)
    ] = None,
    plan_manager: Annotated[
        str, typer.Option(envvar="SYSTEM_A_ENDPOINT", help="Where the plan manager is.")
    ] = "http://127.0.0.1:8081",
    client_id: Annotated[str, typer.Option(envvar="SYSTEM_A_CLIENT_ID", help="OAuth2 client.")] = "",
    client_secret: Annotated[
        str, typer.Option(envvar="SYSTEM_A_CLIENT_SECRET", help="Its secret.", show_default=False)
    ] = "",
    category: Annotated[str, typer.Option(help="Of the files: residential, office, industrial or other.")] = "other",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until the analyses must be there.")] = 120.0,
) -> None:
    """Upload plans to a plan manager, and follow them to their analyses.

    Exit code 0: all are analysed; 1: one is refused, or not analysed in time; 3: the plan manager does not answer;
    4: it does not know the client.
    """
    if not plan_manager.startswith(("http://", "https://")):
        raise UserMistake(f"--plan-manager {plan_manager} is not an address; write http://host:port")
    check_addresses(read_settings(), {"SYSTEM_A_ENDPOINT": plan_manager})
    for file in files or ():
        if not file.is_file():
            raise UserMistake(f"{file}: there is no such file")
    plans = {file: {"identifier": file.stem, "title": file.stem, "category": category} for file in files or ()}
    client = (
        development_default("SYSTEM_A_CLIENT_ID", client_id, "linkspan"),
        development_default("SYSTEM_A_CLIENT_SECRET", client_secret, "linkspan-development"),
    )
    asyncio.run(_run(plans, plan_manager, client, timeout))


async def _run(plans: dict[Path, dict[str, str]], url: str, client: tuple[str, str], seconds: float) -> None:
    console = screen.console()
    try:
        with tempfile.TemporaryDirectory(prefix="linkspan-") as drawn:
            if not plans:
                await asyncio.to_thread(write_plans, Path(drawn))
                plans = {Path(drawn, name): said for name, said in PLANS.items()}
            async with plan_manager_client(url, *client) as manager:
                await _follow(plans, manager, console, time.monotonic() + seconds)
    except aiohttp.ClientResponseError as error:
        code = ExitCode.NOT_ALLOWED if error.status in (401, 403) else ExitCode.NO
        hint = "; SYSTEM_A_CLIENT_ID and SYSTEM_A_CLIENT_SECRET say who asks" if code is ExitCode.NOT_ALLOWED else ""
        raise CommandEnded(f"the plan manager at {url} answered {error.status} {error.message}{hint}", code) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        said = str(error) or type(error).__name__
        raise CommandEnded(
            f"the plan manager at {url} does not answer ({said}); is it running?", ExitCode.AWAY
        ) from error


async def _follow(
    plans: dict[Path, dict[str, str]], manager: PlanManagerClient, console: Console, deadline: float
) -> None:
    stories = []
    for file, said in plans.items():
        plan_id, at = str(uuid.uuid4()), time.time()
        story = Story(file.name, plan_id, await manager.upload(plan_id, file, said), at)
        console.print(
            f"{story.name}: uploaded as plan {plan_id}, correlation id {story.correlation_id}", soft_wrap=True
        )
        stories.append(story)
    waiting = list(stories)
    while waiting:
        for story in list(waiting):
            story.plan = await manager.plan(story.plan_id)
            if story.plan["state"] in ("analysed", "refused"):
                console.print(f"{story.name}: {story.plan['state']} after {time.time() - story.uploaded:.2f} s")
                waiting.remove(story)
        if waiting and time.monotonic() > deadline:
            late = ", ".join(f"{story.name} is {(story.plan or {}).get('state')}" for story in waiting)
            raise CommandEnded(f"not analysed in time: {late}; linkspan message CORRELATION-ID says why", ExitCode.NO)
        await asyncio.sleep(_ASK_AGAIN)
    console.print(screen.analyses(stories))
    if any(story.plan and story.plan["state"] == "refused" for story in stories):
        raise typer.Exit(ExitCode.NO)
