"""The demo's spans in a real Jaeger: its query API tells the whole story of a plan."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from linkspan.cli.trace.command import stories
from linkspan.cli.trace.jaeger import Jaeger, StoredLink, StoredSpan
from linkspan.cli.trace.tree import roots
from linkspan.kernel.telemetry.attributes import CORRELATION_ID, LINK, REPLAY, STEP
from tests.e2e.conftest import Bridge, running, until
from tests.jaeger_process import JaegerProcess, running_jaeger

pytestmark = [pytest.mark.kafka, pytest.mark.incident, pytest.mark.timeout(400)]
#: Of a plan and its analysis, each as often as it stands here.
WAY = sorted(("upload", "webhook", "transform", "analyse", "store", *2 * ("accept", "append", "consume", "deliver")))
SERVICES = {"linkspan-ingress", "linkspan-egress", "linkspan-plan-manager", "linkspan-analysis"}


@pytest.fixture
async def jaeger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[JaegerProcess]:
    async with running_jaeger(tmp_path) as process:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", process.otlp)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "300")
        yield process


async def story_of(jaeger: JaegerProcess, correlation_id: str, steps: list[str]) -> list[list[StoredSpan]]:
    """Each trace found by the tag, once the story has at least these steps."""

    async def whole() -> list[list[StoredSpan]] | None:
        async with Jaeger(jaeger.query) as store:
            found = await stories(store, correlation_id, linked=False)
        there = [span.attributes.get(STEP) for spans in found for span in spans]
        return found if all(there.count(step) >= steps.count(step) for step in steps) else None

    return await until(whole, 60, f"Jaeger has {steps} of {correlation_id}")


async def printed(jaeger: JaegerProcess, name: str, *options: str) -> str:
    """What ``linkspan trace`` says; also on the test's own output, for a person."""
    command = [sys.executable, "-m", "linkspan", "trace", name, "--jaeger", jaeger.query, *options]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    return done.stdout


async def test_jaeger_tells_the_whole_story_of_a_plan_as_one_tree_found_by_its_correlation_id(
    jaeger: JaegerProcess, tmp_path: Path
) -> None:
    from linkspan.reference.plans.floor_plan import write_floor_plan

    drawing = tmp_path / "floor.dxf"
    write_floor_plan(drawing)
    async with running(tmp_path) as bridge:
        plan_id, correlation_id = await bridge.upload(drawing)
        await bridge.end_of(plan_id)
        found = await story_of(jaeger, correlation_id, WAY)
    assert len(found) == 1
    (spans,) = found
    assert sorted(str(span.attributes[STEP]) for span in spans) == WAY
    assert {span.service for span in spans} == SERVICES
    assert [(root.service, root.name) for root in roots(spans)] == [
        ("linkspan-plan-manager", "PUT /v1/plans/{plan_id}")
    ]
    assert {span.attributes[CORRELATION_ID] for span in spans} == {correlation_id}
    tree = await printed(jaeger, correlation_id)
    assert tree.splitlines()[0].startswith(f"trace {spans[0].trace}: {len(WAY)} spans of 4 services in ")
    assert all(f"{span.service.removeprefix('linkspan-')}: {span.name}" in tree for span in spans)
    as_json = json.loads(await printed(jaeger, spans[0].trace, "--output", "json"))
    assert {span["span"] for span in as_json} == {span.span for span in spans}


async def test_a_plan_that_is_refused_shows_why_in_the_same_trace(jaeger: JaegerProcess, tmp_path: Path) -> None:
    """Its dead letter, and how the plan manager is told."""
    paper = tmp_path / "plan.dxf"
    paper.write_bytes(b"%PDF-1.7 this is no plan")
    async with running(tmp_path) as bridge:
        plan_id, correlation_id = await bridge.upload(paper)
        plan = await bridge.end_of(plan_id)
        assert plan["state"] == "refused"
        steps = ["upload", "accept", "append", "consume", "transform", "record", "refuse", "deliver", "store"]
        found = await story_of(jaeger, correlation_id, steps)
    (spans,) = found
    assert len(roots(spans)) == 1
    (dead,) = [span for span in spans if span.attributes[STEP] == "record"]
    assert dead.error
    tree = await printed(jaeger, correlation_id)
    assert "outcome dead_lettered" in tree
    assert f"FAILED: {dead.error}" in tree


async def test_the_replay_of_a_plan_is_a_trace_of_its_own_that_links_to_the_first_and_to_the_call_that_started_it(
    jaeger: JaegerProcess, tmp_path: Path
) -> None:
    from linkspan.reference.plans.floor_plan import write_floor_plan

    drawing = tmp_path / "floor.dxf"
    write_floor_plan(drawing)
    async with running(tmp_path) as bridge:
        plan_id, correlation_id = await bridge.upload(drawing)
        await bridge.end_of(plan_id)
        frozen = json.loads(await commanded(bridge, "plan", "plan-uploaded", "--key", plan_id, "-o", "json"))["plan"]
        await commanded(bridge, "run", frozen, "--force", "--yes")
        found = await story_of(jaeger, correlation_id, [*WAY, "replay", "transform", "deliver"])
        tree = await printed(jaeger, correlation_id)
    first, again = (next(spans for spans in found if is_replay(spans) is replayed) for replayed in (False, True))
    (root,) = roots(again)
    assert root.attributes[REPLAY] == frozen
    links = {link.attributes[LINK]: link for link in root.links}
    assert links["original"].trace == first[0].trace
    assert links["original"].span in {span.span for span in first}
    called = await called_by(jaeger, links["replay"])
    assert (called.service, called.attributes[REPLAY]) == ("linkspan-ingress", frozen)
    assert {str(span.attributes[STEP]) for span in again} >= {"replay", "consume", "transform", "deliver"}
    assert "replay plans.plan-uploaded.events" in tree
    assert f"-> original: trace {first[0].trace}" in tree


def is_replay(spans: list[StoredSpan]) -> bool:
    return any(span.attributes.get(STEP) == "replay" for span in spans)


async def called_by(jaeger: JaegerProcess, link: StoredLink) -> StoredSpan:
    async def there() -> StoredSpan | None:
        async with Jaeger(jaeger.query) as store:
            return next((span for span in await store.trace(link.trace) if span.span == link.span), None)

    return await until(there, 30, f"Jaeger has the call {link.span}")


async def commanded(bridge: Bridge, *words: str) -> str:
    """What ``linkspan replay`` says to an operator of this bridge."""
    environment = os.environ | {
        "LINKSPAN_CONTROL": f"127.0.0.1:{bridge.stack.ports.control['ingress']}",
        "LINKSPAN_DATA": str(bridge.stack.directory),
    }
    command = [sys.executable, "-m", "linkspan", "replay", *words, "--reason", "test"]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout
