"""The extract of a DXF drawing: its model space, in drawing units. Texts are kept out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from ezdxf import bbox

from linkspan.reference.plans.dxf.measure import read_measurements
from linkspan.reference.plans.dxf.open import open_drawing, stated_version
from linkspan.reference.plans.dxf.units import judge_unit
from linkspan.reference.plans.notes import Notes, clean, number
from linkspan.reference.plans.shape import Dimensions, Extents, Extract, Layer


def extract_dxf(path: Path, notes: Notes) -> Extract:
    """Raises Refused for a drawing that cannot be read."""
    drawing = open_drawing(path, notes)
    space = list(drawing.modelspace())
    extents = _extents(space, notes)
    lines = [entity for entity in space if entity.dxftype() == "DIMENSION"]
    unit = judge_unit(drawing, extents, {str(line.dxf.get("dimstyle", "Standard")) for line in lines}, notes)
    notes.say("a DXF drawing states no materials; hatch patterns are not taken for any")
    dimensions = Dimensions(
        format="DXF",
        schema=stated_version(path) or clean(drawing.dxfversion, 40),
        length_unit=unit.name,
        metres_per_unit=unit.metres,
        unit_confidence=unit.confidence,
        counts=notes.first_counts(_counted(space, None, ""), "entity types"),
        extents=extents,
        layers=_layers(drawing, space, notes),
        blocks=notes.first_counts(_counted(space, "INSERT", "name"), "blocks"),
        hatch_patterns=notes.first_counts(_counted(space, "HATCH", "pattern_name"), "hatch patterns"),
        measurements=read_measurements(lines, notes),
    )
    return Extract(dimensions, [], notes.partial, notes.reasons)


def _counted(space: list[Any], kind: str | None, name: str) -> dict[str, int]:
    """How often each entity type occurs, or each value of an attribute of one type."""
    if kind is None:
        return Counter(clean(entity.dxftype(), 60) for entity in space)
    return Counter(clean(entity.dxf.get(name, "")) for entity in space if entity.dxftype() == kind)


def _layers(drawing: Any, space: list[Any], notes: Notes) -> list[Layer]:
    """The layers of the table, in its order, then those that only entities name."""
    used = Counter(clean(entity.dxf.get("layer", "0")) for entity in space)
    folded = Counter({name.casefold(): 0 for name in used})
    for name, count in used.items():
        folded[name.casefold()] += count
    names = {clean(layer.dxf.name).casefold(): clean(layer.dxf.name) for layer in drawing.layers}
    names |= {name.casefold(): name for name in used if name.casefold() not in names}
    return notes.first([Layer(name, folded[key]) for key, name in names.items()], "layers")


def _extents(space: list[Any], notes: Notes) -> Extents | None:
    box = bbox.extents(space)
    if not box.has_data:
        return None
    low, high = ([number(part) for part in corner.xyz] for corner in (box.extmin, box.extmax))
    known_low, known_high = ([part for part in corner if part is not None] for corner in (low, high))
    if len(known_low) + len(known_high) < 6:
        notes.say("the drawing's extents are not finite: they are left out")
        return None
    return Extents(known_low, known_high)
