"""``linkspan demo``: a real Kafka, both systems, both services; two plans go through, their analyses come back."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from linkspan import reference
from linkspan.cli.demo import screen
from linkspan.cli.demo.plan_manager_client import PlanManagerClient, plan_manager_client
from linkspan.cli.demo.stack import Ports, Stack, stop_earlier
from linkspan.cli.demo.start import start_all
from linkspan.cli.demo.story import Story, Tail, tail
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.spec_file import catalog_for

INTEGRATION = Path(reference.__file__).parent / "integration.yaml"
FINISH_SECONDS = 120
PLANS = {
    "house.ifc": {
        "identifier": "LS-HOUSE-1",
        "title": "Two-storey house",
        "category": "residential",
        "summary": "Made by linkspan demo with ifcopenshell",
    },
    "floor-plan.dxf": {
        "identifier": "LS-FLOOR-1",
        "title": "Ground floor",
        "category": "residential",
        "summary": "Made by linkspan demo with ezdxf",
    },
}


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running and return.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End what an earlier demo left running, and return.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Where the demo keeps its data and logs.")] = Path(".linkspan/demo"),
    first_port: Annotated[
        int,
        typer.Option(help="First of five ports: ingress, plan manager, analysis, egress, ledger.", min=1, max=65520),
    ] = 8080,
    kafka_port: Annotated[int, typer.Option(help="Port of the embedded Kafka.", min=1, max=65535)] = 9092,
) -> None:
    """Start a real Kafka, both reference systems and both services, and send two plans through.

    On a terminal it stays until Ctrl-C; elsewhere it runs once to the end.
    """
    if stop:
        typer.echo(f"{stop_earlier(data_dir)} processes of an earlier demo ended")
        return
    ports = Ports(first_port, kafka_port)
    ports.check_free()
    data_dir.mkdir(parents=True, exist_ok=True)
    stack, console = Stack(data_dir, ports), screen.console()
    signal.signal(signal.SIGTERM, _interrupt)
    left_running = False
    try:
        asyncio.run(_run(stack, console))
        if keep:
            left_running = True
            console.print("everything is left running; linkspan demo --stop ends it")
        elif console.is_terminal:
            console.print("[bold]Ctrl-C stops all[/bold]")
            _watch(stack)
    except KeyboardInterrupt:
        console.print("stopping …")
    finally:
        if not left_running:
            stack.stop()


async def _run(stack: Stack, console: Console) -> None:
    started = time.monotonic()
    with console.status("starting Kafka (the first time ever it is downloaded, 45 MB)") as status:
        say = status.update if console.is_terminal else console.print
        insight = find_spec("faust") is not None
        spec, _ = await asyncio.gather(
            start_all(stack, INTEGRATION, say, insight=insight),
            asyncio.to_thread(write_plans, stack.directory),
        )
    console.print(f"everything runs after {time.monotonic() - started:.1f} s")
    bootstrap, codec = f"127.0.0.1:{stack.ports.kafka}", OutcomeCodec(catalog_for(spec))
    manager = stack.ports.url("plan-manager")
    async with (
        tail(bootstrap, spec, codec) as topics,
        plan_manager_client(manager, stack.secrets["id"], stack.secrets["secret"]) as client,
    ):
        stories = [await _upload(client, stack.directory / name) for name in PLANS]
        await _follow(stack, stories, topics, client, console)
    console.print(screen.result(stories))
    console.print(screen.where_next(stories, stack.ports, stack.directory / "logs"))
    console.print(screen.commands(stories, stack.ports, stack.directory), soft_wrap=True)


def write_plans(directory: Path) -> None:
    """The files of ``PLANS``."""
    from linkspan.reference.plans.floor_plan import write_floor_plan
    from linkspan.reference.plans.house import write_house

    write_house(directory / "house.ifc")
    write_floor_plan(directory / "floor-plan.dxf")


async def _upload(client: PlanManagerClient, file: Path) -> Story:
    plan_id, uploaded = str(uuid.uuid4()), time.time()
    return Story(file.name, plan_id, await client.upload(plan_id, file, PLANS[file.name]), uploaded)


async def _follow(
    stack: Stack, stories: list[Story], topics: Tail, client: PlanManagerClient, console: Console
) -> None:
    show = screen.LiveProgress(console) if console.is_terminal else screen.LineProgress(console)
    deadline = time.monotonic() + FINISH_SECONDS
    with show:
        while not all(story.finished for story in stories):
            stack.check_alive()
            if time.monotonic() > deadline:
                raise UserMistake(f"the plans are not analysed after {FINISH_SECONDS} s; logs: {stack.directory}/logs")
            await topics.follow(stories)
            for story in stories:
                story.plan = await client.plan(story.plan_id)
            show.update(stories)


def _watch(stack: Stack) -> None:
    while True:
        stack.check_alive()
        time.sleep(1)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
