"""What a plan leaves in doubt, as recommendations ``{code, severity, text, figure, unit, formula, source}``."""

from __future__ import annotations

from typing import Any

from linkspan.reference.analysis.assumptions import Storeys
from linkspan.reference.analysis.extract import Dimensions, PlanExtract

#: Notes of the extraction that are passed on.
NOTES = 20
FROM_FILE = "the plan file"


def of_the_file(plan: PlanExtract) -> list[dict[str, Any]]:
    found = []
    if plan.partial:
        text = "The file is damaged: what is said here is not about the whole plan. Export it again."
        found.append(recommendation("plan-partial", "error", text, source=FROM_FILE))
    unit = plan.dimensions.length_unit or "none"
    if plan.dimensions.unit_confidence == "unknown":
        text = "The plan declares no unit of length, so no size can be converted. Set the unit and export it again."
        found.append(recommendation("unit-unknown", "error", text, source=FROM_FILE))
    if plan.dimensions.unit_confidence == "low":
        text = (
            f"The plan declares the unit {unit}, which its own sizes contradict. Set the unit right and export again."
        )
        found.append(recommendation("unit-doubtful", "error", text, source=FROM_FILE))
    notes = [recommendation("extraction-note", "info", text, source=FROM_FILE) for text in plan.reasons[:NOTES]]
    return [*found, *notes]


def of_materials(plan: PlanExtract, masses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not masses:
        return [_no_materials(plan.dimensions)]
    return [*_assumed(masses), *(doubt for one in masses for doubt in _of_material(one))]


def _assumed(masses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    known = [one for one in masses if one["mass"] is not None]
    if not known:
        return []
    text = f"The mass of {len(known)} of {len(masses)} materials rests on assumed densities, not on the plan."
    source = "; ".join(dict.fromkeys(one["source"] for one in known))
    total = sum(one["mass"] for one in known)
    return [recommendation("mass-assumed", "info", text, total, "kg", "mass = volume × density", source)]


def _no_materials(dimensions: Dimensions) -> dict[str, Any]:
    if dimensions.format == "DXF":
        text = "A drawing states no materials; send the model as IFC for a mass take-off."
        return recommendation("no-materials", "info", text, source=FROM_FILE)
    text = "The model assigns no materials, so no mass can be taken off. Assign them to its elements."
    return recommendation("no-materials", "warning", text, source=FROM_FILE)


def _of_material(one: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    if one["withoutVolume"]:
        text = f"{one['withoutVolume']} of {one['elements']} elements of {one['material']} state no volume of it."
        if one["density"] is None and one["volume"] is None:
            text += " No density is assumed for it either."
        figure = float(one["withoutVolume"])
        found.append(recommendation("material-without-volume", "warning", text, figure, source=FROM_FILE))
    if one["density"] is None and not (found and one["volume"] is None):
        text = f"No density is assumed for {one['material']}, so its mass is not known. Name it clearly or add it."
        source = "assumption: the table of densities has no entry whose words fit the name"
        found.append(recommendation("density-unknown", "warning", text, one["volume"], "m3", source=source))
    return found


def of_storeys(dimensions: Dimensions, storeys: list[dict[str, Any]], assumed: Storeys) -> list[dict[str, Any]]:
    found = [_low(one, assumed) for one in storeys if _is_low(one, assumed)]
    unknown = [one for one in storeys if one["elevation"] is None]
    if unknown:
        text = f"{len(unknown)} of {len(storeys)} storeys state no elevation, so their heights are not known."
        found.append(recommendation("storey-elevation-unknown", "info", text, float(len(unknown)), source=FROM_FILE))
    if dimensions.format == "IFC" and not storeys:
        text = "The model has no storeys."
        found.append(recommendation("no-storeys", "info", text, source=FROM_FILE))
    return found


def _is_low(one: dict[str, Any], assumed: Storeys) -> bool:
    clear = one["clearHeight"]
    return clear is not None and clear < assumed.minimum_clear_height


def _low(one: dict[str, Any], assumed: Storeys) -> dict[str, Any]:
    name = one["name"] or "without a name"
    text = (
        f"Storey {name} is {one['height']:.2f} m high; assuming {assumed.floor_build_up:.2f} m of floor its clear "
        f"height is {one['clearHeight']:.2f} m, below {assumed.minimum_clear_height:.2f} m. "
        "Check whether people stay in it."
    )
    formula = "clear height = next elevation − elevation − floor build-up"
    source = f"{assumed.clear_height_source}; {assumed.floor_build_up_source}"
    return recommendation("storey-low", "warning", text, one["clearHeight"], "m", formula, source)


def of_the_drawing(dimensions: Dimensions) -> list[dict[str, Any]]:
    lines = dimensions.measurements
    if lines is None or not lines.overridden:
        return []
    text = f"{lines.overridden} of {lines.count} dimension lines show another text than they measure. Check them."
    return [recommendation("dimension-overridden", "warning", text, float(lines.overridden), source=FROM_FILE)]


def recommendation(
    code: str,
    severity: str,
    text: str,
    figure: float | None = None,
    unit: str | None = None,
    formula: str | None = None,
    source: str | None = None,
) -> dict[str, Any]:
    return {
        "code": code,
        "severity": severity,
        "text": text,
        "figure": figure,
        "unit": None if figure is None else unit,
        "formula": formula,
        "source": source,
    }
