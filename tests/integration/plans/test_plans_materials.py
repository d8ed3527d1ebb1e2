"""How stored volumes are divided among materials, on the house with one thing changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ifcopenshell
import pytest
from ifcopenshell.api.material import assign_material, unassign_material
from ifcopenshell.api.pset import add_qto, edit_qto
from ifcopenshell.api.root import create_entity
from ifcopenshell.api.type import assign_type

Change = Callable[[Any], None]


@pytest.fixture
def changed(house: bytes, tmp_path: Path) -> Callable[[Change], bytes]:
    def run(change: Change) -> bytes:
        path = tmp_path / "house.ifc"
        path.write_bytes(house)
        model = ifcopenshell.open(path)
        change(model)
        model.write(str(path))
        return path.read_bytes()

    return run


def materials(found: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one for one in found["materials"]}


async def test_an_element_without_a_material_has_that_of_its_type(changed: Any, house: bytes, extract: Any) -> None:
    def change(model: Any) -> None:
        walls = [wall for wall in model.by_type("IfcWall") if wall.Name == "Inner wall"]
        inner = next(one for one in model.by_type("IfcMaterialLayerSet") if one.LayerSetName == "Inner wall")
        unassign_material(model, products=walls)
        kind = create_entity(model, "IfcWallType", name="Inner")
        assign_material(model, products=[kind], type="IfcMaterialLayerSet", material=inner)
        assign_type(model, related_objects=walls, relating_type=kind)
        for wall in walls:
            unassign_material(model, products=[wall])

    found = await extract("house.ifc", changed(change))
    assert materials(found) == materials(await extract("house.ifc", house))


async def test_a_quantity_stated_twice_counts_once(changed: Any, extract: Any) -> None:
    def change(model: Any) -> None:
        slab = next(one for one in model.by_type("IfcSlab") if one.Name == "Floor 0")
        edit_qto(model, qto=add_qto(model, product=slab, name="Exporter"), properties={"NetVolume": 25.0})

    found = await extract("house.ifc", changed(change))
    assert materials(found)["Reinforced concrete"]["netVolume"] == pytest.approx(32.0)
    assert any("stated twice with different values" in reason for reason in found["reasons"])


async def test_a_whole_and_its_parts_are_not_counted_both(changed: Any, house: bytes, extract: Any) -> None:
    def change(model: Any) -> None:
        (roof,) = model.by_type("IfcRoof")
        tiles = next(one for one in model.by_type("IfcMaterial") if one.Name == "Clay tiles")
        assign_material(model, products=[roof], material=tiles)
        edit_qto(model, qto=add_qto(model, product=roof, name="Qto_RoofBaseQuantities"), properties={"NetVolume": 24.0})

    found = await extract("house.ifc", changed(change))
    assert materials(found) == materials(await extract("house.ifc", house))
    assert any("wholes and their parts" in reason for reason in found["reasons"])


async def test_constituents_divide_a_volume_by_their_stated_fraction(changed: Any, extract: Any) -> None:
    def change(model: Any) -> None:
        for window in model.by_type("IfcWindow"):
            qto = add_qto(model, product=window, name="Qto_More")
            edit_qto(model, qto=qto, properties={"NetVolume": 0.5})

    glass = materials(await extract("house.ifc", changed(change)))["Glass"]
    assert (glass["netVolume"], glass["withoutVolume"]) == (pytest.approx(8 * 0.5 * 0.6), 0)


async def test_a_layer_without_a_thickness_leaves_its_volume_undivided(changed: Any, extract: Any) -> None:
    def change(model: Any) -> None:
        for layer in model.by_type("IfcMaterialLayer"):
            layer.LayerThickness = 0.0

    found = await extract("house.ifc", changed(change))
    assert all(one["netVolume"] is None for one in found["materials"])
    assert materials(found)["Brick"]["withoutVolume"] == 10
