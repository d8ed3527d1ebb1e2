"""The analysis: masses by material, heights of storeys, and what the plan leaves in doubt. Pure functions.

Volumes m3, densities kg/m3, masses kg, heights m. Every figure that rests on an assumption says so in its source.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from linkspan.reference.analysis import doubts
from linkspan.reference.analysis.assumptions import Assumptions
from linkspan.reference.analysis.extract import Dimensions, Material, PlanExtract

#: Materials whose mass is a figure of its own, the heaviest first; all of them are in ``masses``.
FIGURES_OF_MATERIALS = 12


def analyse(plan: PlanExtract, assumptions: Assumptions) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """``results`` and ``recommendations`` of ``AnalysisComplete``, as JSON data."""
    masses = [mass(material, assumptions) for material in plan.materials]
    storeys = heights(plan.dimensions, assumptions)
    recommendations = [
        *doubts.of_the_file(plan),
        *doubts.of_materials(plan, masses),
        *doubts.of_storeys(plan.dimensions, storeys, assumptions.storeys),
        *doubts.of_the_drawing(plan.dimensions),
    ]
    known = [one["mass"] for one in masses if one["mass"] is not None]
    volumes = [one["volume"] for one in masses if one["volume"] is not None]
    results = {
        "identifier": plan.id,
        "type": plan.type,
        "name": plan.attributes.name,
        "description": plan.attributes.description,
        "verdict": verdict(plan, masses),
        "figures": [],
        "totalMass": sum(known) if known else None,
        "totalVolume": sum(volumes) if volumes else None,
        "masses": masses,
        "storeys": storeys,
        "assumptions": assumptions.name,
    }
    results["figures"] = figures(plan.dimensions, results)
    return results, recommendations


def mass(material: Material, assumptions: Assumptions) -> dict[str, Any]:
    """Of one material; ``mass`` is None where its volume is not stated or no assumption fits its name."""
    assumed = assumptions.density(material.name)
    volume = material.net_volume
    return {
        "material": material.name,
        "volume": volume,
        "density": assumed.density if assumed else None,
        "mass": volume * assumed.density if assumed and volume is not None else None,
        "assumedAs": assumed.name if assumed else None,
        "source": assumed.source if assumed else None,
        "elements": material.elements,
        "withoutVolume": material.without_volume,
    }


def heights(dimensions: Dimensions, assumptions: Assumptions) -> list[dict[str, Any]]:
    """Storeys from the lowest up; the height of one is the next one's elevation less its own, the top one has none."""
    build_up = assumptions.storeys.floor_build_up
    known = sorted((s for s in dimensions.storeys if s.elevation is not None), key=lambda s: s.elevation or 0.0)
    unknown = [s for s in dimensions.storeys if s.elevation is None]
    above = [round((upper.elevation or 0.0) - (lower.elevation or 0.0), 9) for lower, upper in pairwise(known)]
    return [
        {
            "name": storey.name,
            "elevation": storey.elevation,
            "height": height,
            "clearHeight": None if height is None else round(height - build_up, 9),
        }
        for storey, height in zip([*known, *unknown], [*above, *[None] * (1 + len(unknown))], strict=False)
    ]


def verdict(plan: PlanExtract, masses: list[dict[str, Any]]) -> str:
    """``doubtful``: file or unit cannot be trusted; ``incomplete``: some mass is not known; else ``complete``."""
    if plan.partial or plan.dimensions.unit_confidence != "stated":
        return "doubtful"
    if not masses or any(one["mass"] is None or one["withoutVolume"] for one in masses):
        return "incomplete"
    return "complete"


def figures(dimensions: Dimensions, results: dict[str, Any]) -> list[dict[str, Any]]:
    """What a page shows first: ``{label, value, unit}``."""
    heaviest = sorted((one for one in results["masses"] if one["mass"] is not None), key=lambda one: -one["mass"])
    return [
        *_figure("Mass of all materials with a known volume", results["totalMass"], "kg"),
        *_figure("Volume of all materials", results["totalVolume"], "m3"),
        *(
            figure
            for one in heaviest[:FIGURES_OF_MATERIALS]
            for figure in _figure(f"Mass, {one['material']}", one["mass"], "kg")
        ),
        *_figure("Storeys", len(results["storeys"]) or None, None),
        *(
            figure
            for one in results["storeys"]
            for figure in _figure(f"Height of storey {one['name'] or 'without a name'}", one["height"], "m")
        ),
        *_drawing(dimensions),
    ]


def _drawing(dimensions: Dimensions) -> list[dict[str, Any]]:
    scale, unit = dimensions.metres_per_unit or 1.0, "m" if dimensions.metres_per_unit else "drawing units"
    lines, box = dimensions.measurements, dimensions.extents
    found: list[dict[str, Any]] = []
    if lines is not None:
        found += _figure("Dimension lines", lines.count, None)
        found += _figure("Longest dimension line", None if lines.max is None else lines.max * scale, unit)
    if box is not None:
        for axis, low, high in zip(("width", "depth"), box.min, box.max, strict=False):
            found += _figure(f"Extent of the drawing, {axis}", (high - low) * scale, unit)
    return found


def _figure(label: str, value: float | None, unit: str | None) -> list[dict[str, Any]]:
    return [] if value is None else [{"label": label, "value": float(value), "unit": unit}]
