"""Every figure of truth.json that is about what a file states."""

from __future__ import annotations

from typing import Any

import pytest

IFC = ("pcert_building_architecture_ifc4.ifc", "geometrygym_frame_ifc2x3.ifc")
DXF = ("floorplan.dxf", "ezdxf_dimension_in_block.dxf")
All = dict[str, Any]


@pytest.mark.parametrize("name", IFC)
def test_schema_and_unit_are_as_the_file_states_them(name: str, extracted: All, truth: All) -> None:
    dimensions = extracted[name]["dimensions"]
    assert (dimensions["format"], dimensions["schema"]) == ("IFC", truth[name]["schema"])
    assert (dimensions["lengthUnit"], dimensions["metresPerUnit"]) == (truth[name]["unit"], truth[name]["unit_to_m"])
    assert dimensions["unitConfidence"] == "stated"


@pytest.mark.parametrize("name", IFC)
def test_storeys_have_their_names_and_their_elevations_in_metres(name: str, extracted: All, truth: All) -> None:
    storeys = extracted[name]["dimensions"]["storeys"]
    assert [storey["name"] for storey in storeys] == [storey["name"] for storey in truth[name]["storeys"]]
    stated = [storey["elevation_m"] for storey in truth[name]["storeys"]]
    assert [storey["elevation"] for storey in storeys] == pytest.approx(stated, abs=1e-9)


@pytest.mark.parametrize("name", IFC)
def test_counts_include_subtypes(name: str, extracted: All, truth: All) -> None:
    counts = extracted[name]["dimensions"]["counts"]
    assert {entity: counts.get(entity, 0) for entity in truth[name]["counts"]} == truth[name]["counts"]


@pytest.mark.parametrize("name", IFC)
def test_every_material_is_named(name: str, extracted: All, truth: All) -> None:
    assert [material["name"] for material in extracted[name]["materials"]] == truth[name]["materials"]
    layers = [one for one in extracted[name]["dimensions"]["materialSets"] if one["kind"] == "layers"]
    assert len(layers) == truth[name]["n_layer_sets"]


@pytest.mark.parametrize("name", IFC)
def test_stored_quantities_are_summed_in_metres(name: str, extracted: All, truth: All) -> None:
    found = {(one["entity"], one["quantity"]): one for one in extracted[name]["dimensions"]["quantities"]}
    for entity, quantities in truth[name]["base_quantities"].items():
        for quantity, value in quantities.items():
            assert found[entity, quantity]["value"] == pytest.approx(value, abs=1e-4), (entity, quantity)
            assert found[entity, quantity]["unit"] in {"m", "m2", "m3"}
    for entity, volumes in truth[name]["volumes"].items():
        stated = found.get((entity, "NetVolume"), {}).get("value")
        assert stated == (volumes["Q_net_m3"] and pytest.approx(volumes["Q_net_m3"], abs=1e-4))


@pytest.mark.parametrize("name", IFC)
def test_volumes_of_materials_are_the_stored_net_volumes(name: str, extracted: All, truth: All) -> None:
    found = {one["name"]: one["netVolume"] for one in extracted[name]["materials"] if one["netVolume"] is not None}
    assert found == pytest.approx(truth[name]["volume_by_material_m3"]["A_raw_net"], abs=1e-4)


def test_elements_with_a_material_but_no_stored_volume_are_listed(extracted: All) -> None:
    materials = {one["name"]: one for one in extracted[IFC[0]]["materials"]}
    sand = materials["bulk-material_sand-coarse_generic"]
    assert (sand["elements"], sand["netVolume"], sand["withoutVolume"]) == (1, None, 1)
    assert sand["elementsWithoutVolume"][0]["entity"] == "IfcBuildingElementProxy"
    assert materials["stone_sand-lime"]["withoutVolume"] == 1  # the chimney, beside three walls


@pytest.mark.parametrize("name", DXF)
def test_a_drawing_is_counted_and_measured_in_drawing_units(name: str, extracted: All, truth: All) -> None:
    dimensions, stated = extracted[name]["dimensions"], truth[name]
    assert (dimensions["format"], [dimensions["schema"]]) == ("DXF", stated["acadver"])
    assert dimensions["counts"] == stated["modelspace_entities"]
    assert len(dimensions["layers"]) == stated["layers"]
    assert sum(layer["entities"] for layer in dimensions["layers"]) == sum(stated["modelspace_entities"].values())
    assert sum(dimensions["blocks"].values()) == stated["modelspace_entities"]["INSERT"]
    assert dimensions["hatchPatterns"] == stated["hatch_patterns"]
    assert [dimensions["extents"]["min"], dimensions["extents"]["max"]] == [
        pytest.approx(corner, abs=1e-6) for corner in stated["extents_drawing_units"]
    ]


@pytest.mark.parametrize("name", DXF)
def test_dimension_lines_are_summed_in_drawing_units(name: str, extracted: All, truth: All) -> None:
    measurements = extracted[name]["dimensions"]["measurements"]
    assert measurements["count"] == measurements["lengths"] == truth[name]["n_dimensions"]
    assert measurements["sum"] == pytest.approx(truth[name]["dimension_sum_drawing_units"], abs=1e-3)
    assert measurements["max"] == pytest.approx(truth[name]["dimension_max"], abs=1e-6)
    assert sum(one["value"] for one in measurements["listed"]) == pytest.approx(measurements["sum"])


def test_a_declared_unit_that_the_drawing_contradicts_converts_nothing(extracted: All) -> None:
    found = extracted["floorplan.dxf"]
    dimensions = found["dimensions"]
    assert (dimensions["lengthUnit"], dimensions["unitConfidence"]) == ("MILLIMETRE", "low")
    assert dimensions["metresPerUnit"] is None
    assert any("MILLIMETRE" in reason and "INCH is suspected" in reason for reason in found["reasons"])


def test_a_believable_declared_unit_is_stated(extracted: All) -> None:
    dimensions = extracted["ezdxf_dimension_in_block.dxf"]["dimensions"]
    assert (dimensions["lengthUnit"], dimensions["metresPerUnit"]) == ("METRE", 1.0)
    assert dimensions["unitConfidence"] == "stated"


def test_whole_files_are_not_partial_and_drawings_state_no_materials(extracted: All) -> None:
    assert [name for name, found in extracted.items() if found["partial"]] == []
    assert all(extracted[name]["materials"] == [] for name in DXF)
    assert all("states no materials" in extracted[name]["reasons"][-1] for name in DXF)


def test_a_wall_of_a_file_in_feet_is_measured_in_metres(extracted: All) -> None:
    dimensions = extracted["revit_wall_window_foot_ifc2x3.ifc"]["dimensions"]
    assert (dimensions["lengthUnit"], dimensions["metresPerUnit"]) == ("FOOT", 0.3048)
    (walls,) = dimensions["materialSets"]
    assert (walls["kind"], walls["elements"]) == ("layers", 1)
    assert walls["thickness"] == pytest.approx(8 * 0.0254)  # 'Generic - 8"'
    assert dimensions["counts"]["IfcWall"] == dimensions["counts"]["IfcWallStandardCase"] == 1


def test_a_house_without_stored_quantities_still_states_its_materials(extracted: All) -> None:
    found = extracted["lantern_hollow_revit_ifc2x3.ifc"]
    assert found["dimensions"]["quantities"] == []
    assert len(found["materials"]) == 53
    assert all(one["netVolume"] is None and one["withoutVolume"] == one["elements"] for one in found["materials"])
    (pair,) = found["dimensions"]["materialSets"]
    assert (pair["kind"], len(pair["members"])) == ("list", 2)
