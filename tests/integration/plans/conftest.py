"""Real plan files of ``$LINKSPAN_SHARED/plans`` (default: ``../shared/plans`` beside the checkout), extracted once."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.steps import StepContext
from linkspan.reference.plans.step import extract_plan


@pytest.fixture(scope="session")
def plans() -> Path:
    checkout = Path(__file__).parents[3]
    shared = Path(os.environ.get("LINKSPAN_SHARED", checkout.parent / "shared")) / "plans"
    if not (shared / "truth.json").is_file():
        pytest.skip(f"no real plan files in {shared}: set LINKSPAN_SHARED to the folder that holds plans/")
    return shared


@pytest.fixture(scope="session")
def truth(plans: Path) -> dict[str, Any]:
    files: dict[str, Any] = json.loads((plans / "truth.json").read_text())["files"]
    return files


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> StepContext:
    return StepContext("plan-uploaded", {}, {}, BlobStore(str(tmp_path_factory.mktemp("blobs"))))


@pytest.fixture
def extract(context: StepContext) -> Callable[[str, Any], Awaitable[dict[str, Any]]]:
    async def run(file_name: str, content: Any) -> dict[str, Any]:
        payload = {"planId": "p", "metadata": {"fileName": file_name}, "content": content}
        return await extract_plan(payload, context)

    return run


@pytest.fixture(scope="session")
def extracted(plans: Path, context: StepContext) -> dict[str, dict[str, Any]]:
    """By file name: every IFC and DXF of the real files."""
    paths = sorted([*plans.glob("*.ifc"), *plans.glob("*.dxf")])

    async def run() -> list[dict[str, Any]]:
        payloads = [
            {"planId": "p", "metadata": {"fileName": path.name}, "content": path.read_bytes()} for path in paths
        ]
        return await asyncio.gather(*(extract_plan(payload, context) for payload in payloads))

    return dict(zip([path.name for path in paths], asyncio.run(run()), strict=True))


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from linkspan.reference.plans.house import write_house

    path = tmp_path_factory.mktemp("house") / "house.ifc"
    write_house(path)
    return path.read_bytes()


@pytest.fixture(scope="session")
def floor_plan(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from linkspan.reference.plans.floor_plan import write_floor_plan

    path = tmp_path_factory.mktemp("house") / "floor.dxf"
    write_floor_plan(path)
    return path.read_bytes()
