"""Random and mutated files are read or refused: nothing else comes out, and nothing hangs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linkspan.kernel.errors import Poison
from linkspan.kernel.steps import StepContext
from linkspan.reference.plans.recognise import NotAPlan, recognise
from linkspan.reference.plans.step import extract_plan

FEW = settings(
    max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
HEADS = (b"", b"ISO-10303-21;", b"0\nSECTION\n", b"PK\x03\x04", b"<", b"\xff\xfe", b"AutoCAD Binary DXF\r\n\x1a\x00")
MUTATIONS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=12)), min_size=1, max_size=6
)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(HEADS), st.binary(max_size=400), st.text(max_size=60))
def test_any_bytes_are_recognised_or_refused(head: bytes, tail: bytes, name: str) -> None:
    try:
        said = recognise(head + tail, name).format
    except NotAPlan as refused:
        said = str(refused)
    assert said in {"ifc", "ifczip", "dxf"} or ("accepted are" in said and "\n" not in said)


def read_or_refused(content: bytes, context: StepContext) -> None:
    payload = {"metadata": {"fileName": "plan"}, "content": content}
    try:
        found = asyncio.run(extract_plan(payload, context))
    except Poison as refused:
        found = {"refused": str(refused)}
    assert json.dumps(found, allow_nan=False, ensure_ascii=False).encode("utf-8")


def mutated(content: bytes, mutations: list[tuple[float, bytes]]) -> bytes:
    changed = bytearray(content)
    for place, piece in mutations:
        start = int(place * len(changed))
        changed[start : start + len(piece)] = piece
    return bytes(changed)


@pytest.mark.parametrize("head", [head for head in HEADS if head not in {b"", b"<", b"\xff\xfe"}])
def test_bytes_that_only_begin_like_a_plan_are_refused(head: bytes, context: StepContext) -> None:
    with pytest.raises(Poison):
        asyncio.run(extract_plan({"content": head + bytes(range(256)) * 4}, context))


@FEW
@given(mutations=MUTATIONS)
def test_a_mutated_ifc_is_read_or_refused(
    mutations: list[tuple[float, bytes]], plans: Path, context: StepContext
) -> None:
    content = (plans / "revit_wall_window_foot_ifc2x3.ifc").read_bytes()
    read_or_refused(mutated(content, mutations), context)


@FEW
@given(mutations=MUTATIONS)
def test_a_mutated_drawing_is_read_or_refused(
    mutations: list[tuple[float, bytes]], floor_plan: bytes, context: StepContext
) -> None:
    read_or_refused(mutated(floor_plan, mutations), context)
