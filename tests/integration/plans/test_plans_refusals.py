"""What is neither IFC nor DXF is refused in one sentence that names it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from linkspan.kernel.errors import Poison, UserMistake
from linkspan.reference.plans.limits import Limits
from linkspan.reference.plans.recognise import NotAPlan, recognise

ACCEPTED = "accepted are IFC as STEP text (.ifc), zipped IFC (.ifczip) and DXF (.dxf)"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("lake_kegonsa_first_floor.pdf", "a PDF document"),
        ("one_room_utf16.gbxml", "gbXML"),
        ("wall_with_opening_and_window.ifcxml", "ifcXML"),
        ("MANIFEST.json", "JSON"),
    ],
)
async def test_a_real_file_of_another_kind_is_refused_by_name(name: str, what: str, plans: Path, extract: Any) -> None:
    with pytest.raises(Poison) as refused:
        await extract(name, (plans / name).read_bytes())
    assert str(refused.value) == f"'{name}' is {what}: {ACCEPTED}"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\n \n", "is blank"),
        (bytes(range(256)), "is of no known format, though named .ifc"),
        (b"AC1027\x00\x00", "is a DWG drawing, though named .ifc"),
        (b"%PDF-1.7 ...", "is a PDF document, though named .ifc"),
        (b"<?xml version='1.0'?><!-- <gbXML> --><svg/>", "is XML with the root element svg"),
        (b"ISO-10303-21;HEADER;FILE_SCHEMA(('AUTOMOTIVE_DESIGN'));ENDSEC;", "a STEP file of schema AUTOMOTIVE_DESIGN"),
    ],
)
async def test_content_counts_before_the_name(content: bytes, what: str, extract: Any) -> None:
    with pytest.raises(Poison, match="accepted are") as refused:
        await extract("plan.ifc", content)
    assert what in str(refused.value)


async def test_a_name_that_says_otherwise_is_said(floor_plan: bytes, extract: Any) -> None:
    found = await extract("plan.ifc", floor_plan)
    assert found["dimensions"]["format"] == "DXF"
    assert found["reasons"][0] == "the file is named 'plan.ifc', but its content is DXF"


async def test_a_payload_without_readable_content_is_refused(extract: Any) -> None:
    for content in (None, "AAAA", {"address": "a"}):
        with pytest.raises(Poison, match=r"payload\.content"):
            await extract("plan.ifc", content)


async def test_content_in_the_blob_store_is_read(house: bytes, extract: Any, context) -> None:
    found = await extract("house.ifc", await context.blobs.put(house))
    assert found["planId"] == "p"
    assert "content" not in found
    gone = {"address": "no/such", "digest": "0", "size": 1, "mediaType": None}
    with pytest.raises(Poison, match="no/such"):
        await extract("house.ifc", gone)


async def test_a_zipped_ifc_is_read_and_its_first_plan_taken(house: bytes, extract: Any) -> None:
    found = await extract("house.ifczip", _zipped({"house.ifc": house, "notes.txt": b"x"}))
    assert found["dimensions"]["counts"]["IfcWall"] == 10
    assert "the archive holds 2 files: only 'house.ifc' was read" in found["reasons"]


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"plan.ifcxml": b"<ifcXML/>"}, r"without an \.ifc file \(it holds plan.ifcxml\)"),
        ({}, r"without an \.ifc file|of no known format"),
        ({"plan.ifc": b"%PDF-1.7"}, "is no readable IFC|cut off in its header"),
    ],
)
async def test_an_archive_without_a_plan_is_refused(members: dict[str, bytes], why: str, extract: Any) -> None:
    with pytest.raises(Poison, match=why):
        await extract("plan.ifczip", _zipped(members))


async def test_a_damaged_archive_is_refused(house: bytes, extract: Any) -> None:
    whole = _zipped({"house.ifc": house})
    for broken in (whole[:-100], whole[:2000] + b"\xff" * 500 + whole[2500:]):
        with pytest.raises(Poison, match="is a damaged ZIP archive"):
            await extract("plan.ifczip", broken)


def test_recognising_an_endless_prologue_costs_little() -> None:
    with pytest.raises(NotAPlan, match="is XML"):
        recognise(b"<!" * 1_000_000, "plan.ifc")


def test_a_wrong_limit_is_a_mistake_that_names_its_variable() -> None:
    assert Limits.from_environment({"LINKSPAN_PLANS_MEMORY_MB": "2048"}).memory_mb == 2048
    for text in ("", "0", "-1", "1.5", "1e3", "much"):
        with pytest.raises(UserMistake, match="LINKSPAN_PLANS_SECONDS"):
            Limits.from_environment({"LINKSPAN_PLANS_SECONDS": text})


def _zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()
