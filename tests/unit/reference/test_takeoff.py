"""The analysis against figures computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from linkspan.kernel.errors import UserMistake
from linkspan.reference.analysis.assumptions import packaged_assumptions, read_assumptions
from linkspan.reference.analysis.extract import PlanExtract
from linkspan.reference.analysis.takeoff import analyse

ASSUMED = packaged_assumptions()


def plan(materials: list[dict[str, Any]] | None = None, **more: Any) -> PlanExtract:
    dimensions = {"format": "IFC", "schema": "IFC4", "unitConfidence": "stated", "metresPerUnit": 0.001}
    return PlanExtract.model_validate(
        {
            "id": "T-1",
            "planId": "01980000-0000-7000-8000-0000000000a1",
            "type": "RES",
            "attributes": {"name": "Tower"},
            "dimensions": dimensions | more.pop("dimensions", {}),
            "materials": materials or [],
            **more,
        }
    )


def codes(recommendations: list[dict[str, Any]]) -> list[str]:
    return [one["code"] for one in recommendations]


def test_a_mass_is_the_stated_volume_times_the_assumed_density_and_names_the_assumption() -> None:
    # 6.4375 m3 x 2500 kg/m3 = 16,093.75 kg; 7.2858 m3 x 1800 kg/m3 = 13,114.44 kg; together 29,208.19 kg
    results, recommendations = analyse(
        plan(
            [
                {"name": "concrete_reinforced_in-situ", "elements": 4, "netVolume": 6.4375},
                {"name": "stone_sand-lime", "elements": 4, "netVolume": 7.2858},
            ]
        ),
        ASSUMED,
    )
    assert [one["mass"] for one in results["masses"]] == pytest.approx([16093.75, 13114.44])
    assert results["totalMass"] == pytest.approx(29208.19)
    assert results["totalVolume"] == pytest.approx(13.7233)
    assert results["verdict"] == "complete"
    assert results["figures"][0] == {
        "label": "Mass of all materials with a known volume",
        "value": pytest.approx(29208.19),
        "unit": "kg",
    }
    assumed = next(one for one in recommendations if one["code"] == "mass-assumed")
    assert "assumed densities" in assumed["text"]
    assert "EN 1991-1-1:2002 table A.1" in assumed["source"]


@pytest.mark.parametrize(
    ("material", "density"),
    [
        ("STEEL/S275J0", 7850),
        ("wood_mdf_plate", 800),
        ("Concrete - Cast-in-Place Concrete", 2400),
        ("Concrete, Precast", 2500),
        ("Gypsum Wall Board", 900),
        ("bulk-material_sand-coarse_generic", 1650),
        ("composite_element_roof", None),
        ("virtual_white", None),
        ("Bluewood", None),
    ],
)
def test_a_density_is_found_by_whole_words_of_the_name_and_else_not_at_all(
    material: str, density: float | None
) -> None:
    found = ASSUMED.density(material)
    assert (found.density if found else None) == density


def test_a_material_that_no_assumption_fits_has_no_mass_and_says_so() -> None:
    results, recommendations = analyse(
        plan([{"name": "composite_element_roof", "elements": 1, "netVolume": 16.0839}]), ASSUMED
    )
    assert results["masses"][0]["mass"] is None
    assert results["totalMass"] is None
    assert results["verdict"] == "incomplete"
    (doubt,) = (one for one in recommendations if one["code"] == "density-unknown")
    assert (doubt["figure"], doubt["unit"]) == (16.0839, "m3")
    assert "composite_element_roof" in doubt["text"]


def test_a_material_without_a_stated_volume_is_counted_not_guessed() -> None:
    results, recommendations = analyse(
        plan([{"name": "Steel", "elements": 12, "netVolume": None, "withoutVolume": 12}]), ASSUMED
    )
    assert results["masses"][0]["mass"] is None
    assert results["verdict"] == "incomplete"
    (doubt,) = (one for one in recommendations if one["code"] == "material-without-volume")
    assert doubt["figure"] == 12


def test_a_storey_below_the_assumed_clear_height_is_named_with_the_assumption() -> None:
    # 2.60 - 0.00 = 2.60 high, 2.60 - 0.30 = 2.30 clear, below 2.40; 5.30 - 2.60 = 2.70 high, 2.40 clear: enough
    storeys = [{"name": "01", "elevation": 2.6}, {"name": "00", "elevation": 0.0}, {"name": "roof", "elevation": 5.3}]
    results, recommendations = analyse(plan(dimensions={"storeys": storeys}), ASSUMED)
    assert [one["name"] for one in results["storeys"]] == ["00", "01", "roof"]
    assert [one["height"] for one in results["storeys"]] == [pytest.approx(2.6), pytest.approx(2.7), None]
    low = [one for one in recommendations if one["code"] == "storey-low"]
    assert len(low) == 1
    assert low[0]["figure"] == pytest.approx(2.3)
    assert low[0]["text"].startswith("Storey 00 is 2.60 m high; assuming 0.30 m")
    assert "assumption" in low[0]["source"]


def test_a_storey_without_an_elevation_has_no_height() -> None:
    storeys = [{"name": "a", "elevation": None}, {"name": "b", "elevation": 0.0}]
    results, recommendations = analyse(plan(dimensions={"storeys": storeys}), ASSUMED)
    assert [(one["name"], one["height"]) for one in results["storeys"]] == [("b", None), ("a", None)]
    assert "storey-elevation-unknown" in codes(recommendations)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"partial": True}, "plan-partial"),
        ({"dimensions": {"unitConfidence": "low"}}, "unit-doubtful"),
        ({"dimensions": {"unitConfidence": "unknown", "metresPerUnit": None}}, "unit-unknown"),
    ],
)
def test_a_damaged_file_or_a_doubtful_unit_makes_the_verdict_doubtful(more: dict[str, Any], code: str) -> None:
    results, recommendations = analyse(plan([{"name": "Steel", "elements": 1, "netVolume": 1.0}], **more), ASSUMED)
    assert results["verdict"] == "doubtful"
    assert next(one["severity"] for one in recommendations if one["code"] == code) == "error"


def test_a_drawing_gives_lengths_in_metres_only_where_its_unit_is_stated() -> None:
    drawing = {
        "format": "DXF",
        "schema": "AC1018",
        "extents": {"min": [0, 0, 0], "max": [12000, 8000, 0]},
        "measurements": {"count": 63, "lengths": 63, "max": 5500.0, "overridden": 2},
    }
    results, recommendations = analyse(plan(dimensions=drawing), ASSUMED)
    figures = {one["label"]: (one["value"], one["unit"]) for one in results["figures"]}
    assert figures["Longest dimension line"] == (pytest.approx(5.5), "m")
    assert figures["Extent of the drawing, width"] == (pytest.approx(12.0), "m")
    assert {"no-materials", "dimension-overridden"} <= set(codes(recommendations))
    unknown = drawing | {"metresPerUnit": None, "unitConfidence": "unknown"}
    results, _ = analyse(plan(dimensions=unknown), ASSUMED)
    figures = {one["label"]: (one["value"], one["unit"]) for one in results["figures"]}
    assert figures["Longest dimension line"] == (5500.0, "drawing units")


def test_other_assumptions_can_be_given_and_a_bad_file_is_named_with_its_field(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        'name = "ours"\n[storeys]\nminimum_clear_height = 2.2\nclear_height_source = "s"\nfloor_build_up = 0.2\n'
        'floor_build_up_source = "t"\n[[densities]]\nname = "straw"\nwords = ["straw"]\ndensity = 100\nsource = "u"\n'
    )
    results, _ = analyse(plan([{"name": "Straw bale", "elements": 1, "netVolume": 2.0}]), read_assumptions(path))
    assert results["totalMass"] == pytest.approx(200.0)
    assert results["assumptions"] == "ours"
    path.write_text(path.read_text().replace("density = 100", "density = -1"))
    with pytest.raises(UserMistake, match=r"densities\.0\.density"):
        read_assumptions(path)
