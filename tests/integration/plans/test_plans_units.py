"""A unit that the file does not state is never assumed."""

from __future__ import annotations

from typing import Any

import pytest

LENGTH = b"IFCSIUNIT(*,.LENGTHUNIT.,.MILLI.,.METRE.)"
VOLUME = b"IFCSIUNIT(*,.VOLUMEUNIT.,$,.CUBIC_METRE.)"


def quantity(found: dict[str, Any], entity: str, name: str) -> tuple[float, str | None]:
    all_of = found["dimensions"]["quantities"]
    return next((one["value"], one["unit"]) for one in all_of if (one["entity"], one["quantity"]) == (entity, name))


async def test_without_a_length_unit_no_length_is_in_metres(house: bytes, extract: Any) -> None:
    assert LENGTH in house
    found = await extract("house.ifc", house.replace(LENGTH, b"IFCSIUNIT(*,.MASSUNIT.,.KILO.,.GRAM.)"))
    dimensions = found["dimensions"]
    assert (dimensions["lengthUnit"], dimensions["metresPerUnit"]) == (None, None)
    assert dimensions["unitConfidence"] == "unknown"
    assert [storey["elevation"] for storey in dimensions["storeys"]] == [None, None]
    assert all(member["thickness"] is None for one in dimensions["materialSets"] for member in one["members"])
    assert quantity(found, "IfcWall", "Length") == (pytest.approx(83_620), None)
    assert quantity(found, "IfcWall", "NetVolume") == (pytest.approx(61.70335), "m3")
    assert not found["partial"]
    assert any("no length unit" in reason for reason in found["reasons"])


async def test_area_and_volume_have_units_of_their_own(house: bytes, extract: Any) -> None:
    found = await extract("house.ifc", house.replace(VOLUME, b"IFCSIUNIT(*,.VOLUMEUNIT.,.CENTI.,.CUBIC_METRE.)"))
    assert quantity(found, "IfcWall", "NetVolume") == (pytest.approx(61.70335e-6), "m3")
    assert quantity(found, "IfcWall", "NetSideArea") == (pytest.approx(188.79), "m2")
    assert quantity(found, "IfcWall", "Length") == (pytest.approx(83.62), "m")


async def test_without_a_volume_unit_no_material_has_a_volume(house: bytes, extract: Any) -> None:
    found = await extract("house.ifc", house.replace(VOLUME, b"IFCSIUNIT(*,.MASSUNIT.,.KILO.,.GRAM.)"))
    assert quantity(found, "IfcWall", "NetVolume") == (pytest.approx(61.70335), None)
    assert all(one["netVolume"] is None and one["withoutVolume"] == one["elements"] for one in found["materials"])
    assert found["dimensions"]["storeys"][1]["elevation"] == 2.8


@pytest.mark.parametrize(("code", "says"), [(b"0", "states no unit"), (b"77", "unknown unit")])
async def test_a_drawing_without_a_known_unit_stays_in_drawing_units(
    code: bytes, says: str, floor_plan: bytes, extract: Any
) -> None:
    declared = b"$INSUNITS\n 70\n4\n"
    assert declared in floor_plan
    found = await extract("a.dxf", floor_plan.replace(declared, declared.replace(b"4", code)))
    dimensions = found["dimensions"]
    assert (dimensions["lengthUnit"], dimensions["metresPerUnit"]) == (None, None)
    assert dimensions["unitConfidence"] == "unknown"
    assert dimensions["measurements"]["max"] == 10_000
    assert any(says in reason for reason in found["reasons"])


async def test_a_plan_of_centimetres_in_size_is_doubted(floor_plan: bytes, extract: Any) -> None:
    declared = b"$INSUNITS\n 70\n4\n"
    found = await extract("a.dxf", floor_plan.replace(declared, declared.replace(b"4", b"12")))
    assert (found["dimensions"]["lengthUnit"], found["dimensions"]["unitConfidence"]) == ("NANOMETRE", "low")
    assert found["dimensions"]["metresPerUnit"] is None
