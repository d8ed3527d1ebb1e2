"""The demo's own plans: the same bytes every time, and figures that its geometry confirms."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import ifcopenshell
import ifcopenshell.geom
import pytest
from ifcopenshell.util.shape import get_volume

WRITE = """
import sys
from pathlib import Path
from linkspan.reference.plans.floor_plan import write_floor_plan
from linkspan.reference.plans.house import write_house
write_house(Path(sys.argv[1], "house.ifc"))
write_floor_plan(Path(sys.argv[1], "floor.dxf"))
"""


def test_the_plans_are_the_same_bytes_in_another_process(house: bytes, floor_plan: bytes, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONHASHSEED": "4"}  # another order of ezdxf's sets than most seeds give
    subprocess.run([sys.executable, "-c", WRITE, str(tmp_path)], check=True, env=environment)
    assert (tmp_path / "house.ifc").read_bytes() == house
    assert (tmp_path / "floor.dxf").read_bytes() == floor_plan


async def test_the_stored_volumes_of_the_house_are_those_of_its_geometry(
    house: bytes, extract: Any, tmp_path: Path
) -> None:
    path = tmp_path / "house.ifc"
    path.write_bytes(house)
    volumes: dict[str, float] = defaultdict(float)
    model = ifcopenshell.open(path)
    for element in [*model.by_type("IfcWall"), *model.by_type("IfcSlab"), *model.by_type("IfcSpace")]:
        shape = ifcopenshell.geom.create_shape(ifcopenshell.geom.settings(), element)
        volumes[element.is_a()] += get_volume(shape.geometry)
    found = (await extract("house.ifc", house))["dimensions"]["quantities"]
    stored = {one["entity"]: one["value"] for one in found if one["quantity"] == "NetVolume"}
    assert stored == pytest.approx(volumes, rel=1e-6)


async def test_the_house_states_storeys_layers_and_materials(house: bytes, extract: Any) -> None:
    found = await extract("house.ifc", house)
    assert (found["partial"], found["reasons"]) == (False, [])
    dimensions = found["dimensions"]
    assert [(one["name"], one["elevation"]) for one in dimensions["storeys"]] == [
        ("Ground floor", 0.0),
        ("Upper floor", 2.8),
    ]
    outer = dimensions["materialSets"][0]
    assert (outer["name"], outer["elements"], outer["thickness"]) == ("Outer wall", 8, 0.365)
    assert [(one["material"], one["thickness"]) for one in outer["members"]] == [
        ("Lime render", 0.015),
        ("Mineral wool", 0.1),
        ("Brick", 0.235),
        ("Gypsum plaster", 0.015),
    ]
    materials = {one["name"]: one for one in found["materials"]}
    assert materials["Reinforced concrete"]["netVolume"] == pytest.approx(2 * 80 * 0.2)
    assert materials["Lime render"]["netArea"] == pytest.approx(156.04)
    assert (materials["Glass"]["netVolume"], materials["Glass"]["withoutVolume"]) == (None, 8)


async def test_the_floor_plan_measures_the_house(floor_plan: bytes, extract: Any) -> None:
    dimensions = (await extract("floor.dxf", floor_plan))["dimensions"]
    assert (dimensions["lengthUnit"], dimensions["metresPerUnit"]) == ("MILLIMETRE", 0.001)
    assert [one["value"] for one in dimensions["measurements"]["listed"]] == [8000, 7270, 10000, 4562.5, 4562.5]
    assert dimensions["blocks"] == {"DOOR": 2, "WINDOW": 4}
