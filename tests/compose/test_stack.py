"""`docker compose up` from nothing: a plan through it, what watches it, what its containers may do, and an upgrade."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from linkspan.cli.trace.command import stories
from linkspan.cli.trace.jaeger import Jaeger, StoredSpan
from linkspan.cli.trace.tree import roots
from linkspan.kernel.telemetry.attributes import STEP
from linkspan.reference.plans.floor_plan import write_floor_plan
from tests.compose.conftest import LABEL, started
from tests.compose.load import Load, figures, judged
from tests.compose.stack import PROCESSES, ComposeStack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(400)]
#: Of a plan and its analysis, each as often as it stands here.
WAY = sorted(("upload", "webhook", "transform", "analyse", "store", *2 * ("accept", "append", "consume", "deliver")))
REPLICAS = ("ingress-1", "ingress-2", "egress-1", "egress-2")


@pytest.fixture(scope="module")
def stack(image: str) -> Iterator[ComposeStack]:
    with started(image) as made:
        yield made


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    write_floor_plan(tmp_path / "floor.dxf")
    return tmp_path / "floor.dxf"


def test_the_demo_uploads_two_plans_and_shows_their_analyses(stack: ComposeStack) -> None:
    said = stack.timed("docker compose run demo", "run", "--rm", "-T", "demo")
    assert "house.ifc: analysed after " in said
    assert "floor-plan.dxf: analysed after " in said
    assert "Mass, Reinforced concrete" in said


def test_a_client_that_the_plan_manager_does_not_know_is_told_so_in_one_line(stack: ComposeStack) -> None:
    command = ("run", "--rm", "--no-deps", "-T", "demo", "send-plan", "--client-secret", "wrong")
    done = stack.attempt(*command)
    assert done.returncode == 4
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("linkspan: ")]
    assert "SYSTEM_A_CLIENT_SECRET" in line
    assert "Traceback" not in done.stderr


async def test_jaeger_has_the_whole_way_of_a_plan_as_one_trace(stack: ComposeStack, drawing: Path) -> None:
    async with stack.plan_manager() as manager:
        plan_id, correlation_id = await manager.upload(drawing)
        assert (await manager.ended(plan_id))["state"] == "analysed"
    spans = await whole_story(stack.url("jaeger", 16686), correlation_id)
    assert sorted(str(span.attributes[STEP]) for span in spans) == WAY
    assert [root.service for root in roots(spans)] == ["linkspan-plan-manager"]


async def whole_story(jaeger: str, correlation_id: str) -> list[StoredSpan]:
    async with asyncio.timeout(60), Jaeger(jaeger) as store:
        while True:
            found = await stories(store, correlation_id, linked=False)
            if found and len(found[0]) >= len(WAY):
                (spans,) = found
                return spans
            await asyncio.sleep(0.5)


async def test_prometheus_reaches_every_process_and_judges_the_rules(stack: ComposeStack) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession(stack.url("prometheus", 9090)) as session:

        async def asked(path: str) -> Any:
            async with session.get(f"/api/v1/{path}") as answer:
                return (await answer.json())["data"]

        while True:
            targets = {one["labels"]["instance"]: one for one in (await asked("targets"))["activeTargets"]}
            if targets and all(one["health"] == "up" for one in targets.values()):
                break
            await asyncio.sleep(0.5)
        assert set(targets) == {f"{name}:8080" for name in PROCESSES}
        rules = [rule for group in (await asked("rules"))["groups"] for rule in group["rules"]]
        assert len(rules) > 10
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}


def test_no_process_may_do_more_than_it_needs(stack: ComposeStack) -> None:
    containers = stack.containers()
    for name in (*PROCESSES, "topics"):
        said = containers[name]
        host = said["HostConfig"]
        assert said["Config"]["User"] == "10001:10001", name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert not host["Privileged"], name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
    published = [
        place["HostIp"]
        for one in containers.values()
        for places in one["NetworkSettings"]["Ports"].values()
        for place in places or ()
    ]
    assert set(published) == {"127.0.0.1"}


@pytest.mark.parametrize("name", PROCESSES)
def test_the_kernel_says_the_same_of_a_running_process(stack: ComposeStack, name: str) -> None:
    script = "cat /proc/1/status; touch /opt/linkspan/x /x; echo failed $?; touch /tmp/x && echo written"
    said = stack.attempt("exec", "-T", name, "sh", "-c", script).stdout
    facts = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
    assert facts["Uid"].split() == ["10001"] * 4
    assert {facts[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    assert said.splitlines()[-2:] == ["failed 1", "written"]


async def test_an_upgrade_of_one_replica_after_the_other_loses_nothing_and_repeats_nothing_unmarked(
    stack: ComposeStack, next_image: str, drawing: Path
) -> None:
    load = Load((stack.url("ingress-1"), stack.url("ingress-2")))
    async with stack.plan_manager() as manager:
        plans = []
        async with load.flowing():
            await asyncio.sleep(3)
            for name in REPLICAS:
                plans.append((await manager.upload(drawing))[0])
                command = ("up", "--detach", "--no-deps", "--wait", name)
                await asyncio.to_thread(stack.timed, f"new {name}, until healthy", *command, image=next_image)
                # The replica has another port of this machine.
                if name.startswith("ingress"):
                    load.urls = (
                        await asyncio.to_thread(stack.url, "ingress-1"),
                        await asyncio.to_thread(stack.url, "ingress-2"),
                    )
            await asyncio.sleep(3)
        found = await judged(load, manager)
        states = [(await manager.ended(plan))["state"] for plan in plans]
    print(f"\nupgrade: {figures(load, found)}")
    assert found.fine(), found
    assert found.accepted > 200
    assert states == ["analysed"] * len(plans)
    containers = stack.containers()
    assert {name for name, one in containers.items() if one["Config"]["Labels"].get(LABEL) == "next"} == set(REPLICAS)
    assert "balanced" in await asyncio.to_thread(stack.audit)


def test_the_image_has_no_installer_no_compiler_and_nothing_setuid(image: str) -> None:
    script = (
        "for one in pip pip3 gcc cc ld make apt-get-none; do command -v $one; done; "
        "python -c 'import pip' 2>/dev/null && echo pip; python -c 'import ensurepip' 2>/dev/null && echo ensurepip; "
        "find / -xdev -type f -perm /6000 2>/dev/null; id -u"
    )
    command = ["docker", "run", "--rm", "--read-only", "--cap-drop", "ALL", "--entrypoint", "sh", image, "-c", script]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout.split() == ["10001"]


def test_nothing_is_compiled_again_when_a_process_starts(image: str) -> None:
    """The sources have another time in the image, so bytecode that is compared with it would never be used."""
    script = (
        "import pathlib; of = [p for p in pathlib.Path('/opt/linkspan/lib').rglob('*.pyc')]; "
        "print(len(of), sum(p.read_bytes()[4:8] != bytes([1, 0, 0, 0]) for p in of))"
    )
    command = ["docker", "run", "--rm", "--entrypoint", "python", image, "-c", script]
    there, wrong = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(there) > 3000
    assert wrong == "0"
