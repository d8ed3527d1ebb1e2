"""A damaged file gives what is left of it, marked partial, or a clear refusal."""

from __future__ import annotations

import asyncio
import io
import json
import re
from pathlib import Path
from typing import Any

import ezdxf
import pytest

from linkspan.kernel.errors import Poison

CUT = "the file ends before END-ISO-10303-21: it was cut off, and what followed is missing"


async def test_an_ifc_cut_anywhere_in_its_data_is_partial(plans: Path, extract: Any) -> None:
    whole = (plans / "pcert_building_architecture_ifc4.ifc").read_bytes()
    cuts = (5_000, 60_000, len(whole) - 24)
    found = await asyncio.gather(*(extract("plan.ifc", whole[:cut]) for cut in cuts))
    assert all(one["partial"] and CUT in one["reasons"] for one in found)
    counts = [sum(one["dimensions"]["counts"].values()) for one in found]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


async def test_an_ifc_cut_in_its_header_or_before_any_element_is_refused(plans: Path, extract: Any) -> None:
    whole = (plans / "pcert_building_architecture_ifc4.ifc").read_bytes()
    for cut in (100, 320):
        with pytest.raises(Poison, match="states nothing to extract"):
            await extract("plan.ifc", whole[:cut])


async def test_a_missing_record_makes_an_ifc_partial(house: bytes, extract: Any) -> None:
    found = await extract("house.ifc", house.replace(b"=IFCMATERIAL('Brick'", b"=IFCNOTHING('Brick'"))
    assert found["partial"]
    assert any("IFCNOTHING" in reason for reason in found["reasons"])


async def test_garbage_amid_an_ifc_is_refused_with_the_parsers_words(house: bytes, extract: Any) -> None:
    with pytest.raises(Poison, match="is no readable IFC"):
        await extract("house.ifc", house[:9000] + b"\x00\xff;;#(" * 40 + house[9300:])


@pytest.mark.parametrize("wrong", [b"nan", b"1e999"])
async def test_figures_that_are_not_finite_are_left_out(wrong: bytes, floor_plan: bytes, extract: Any) -> None:
    content = re.sub(rb"(?<=\n)(10000|8000)\.0(?=\n)", wrong, floor_plan)
    assert content.count(wrong) > 4
    found = await extract("floor.dxf", content)
    json.dumps(found, allow_nan=False)
    assert any("not finite" in reason or "no measurement" in reason for reason in found["reasons"])


async def test_a_drawing_cut_in_its_entities_is_partial(plans: Path, extract: Any) -> None:
    whole = (plans / "ezdxf_dimension_in_block.dxf").read_bytes()
    for cut in (80_000,):
        found = await extract("plan.dxf", whole[:cut])
        assert found["partial"]
        assert found["reasons"][0].startswith("the drawing ends without EOF")
    for cut in (1_000,):
        with pytest.raises(Poison, match="cut off before its entities"):
            await extract("plan.dxf", whole[:cut])


async def test_a_binary_drawing_is_read_like_its_text(floor_plan: bytes, extract: Any, tmp_path: Path) -> None:
    path = tmp_path / "floor.dxf"
    path.write_bytes(floor_plan)
    binary = io.BytesIO()
    ezdxf.readfile(path).write(binary, fmt="bin")
    found, text = await asyncio.gather(extract("a.dxf", binary.getvalue()), extract("a.dxf", floor_plan))
    assert not found["partial"]
    assert found["dimensions"] == text["dimensions"]
