"""The extract of an IFC file: what its records state, nothing computed from geometry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import ifcopenshell

from linkspan.reference.plans.ifc.materials import elements_by_definition, read_materials
from linkspan.reference.plans.ifc.open import Model, attribute, by_type, open_model
from linkspan.reference.plans.ifc.quantities import Quantities
from linkspan.reference.plans.ifc.sets import read_sets
from linkspan.reference.plans.ifc.units import Units, read_units
from linkspan.reference.plans.notes import Notes, Refused, clean
from linkspan.reference.plans.shape import Dimensions, Extract, Storey

_COUNTED = ("IfcElement", "IfcSpatialStructureElement")


def extract_ifc(path: Path, notes: Notes) -> Extract:
    """Raises Refused for a file that cannot be parsed or holds no project and no element."""
    model = open_model(path, notes)
    counts = _counts(model)
    if not counts and not by_type(model, "IfcProject"):
        raise Refused("holds no project and no element: it states nothing to extract")
    units = read_units(model, notes)
    quantities = Quantities(model, units, notes)
    pairs = elements_by_definition(model)
    length = units.stated.get("length")
    dimensions = Dimensions(
        format="IFC",
        schema=clean(model.schema_identifier, 40),
        length_unit=length.name if length else None,
        metres_per_unit=length.scale if length and units.confidence == "stated" else None,
        unit_confidence=units.confidence,
        counts=counts,
        storeys=_storeys(model, units, notes),
        quantities=notes.first(quantities.summed(), "quantities"),
        material_sets=read_sets(model, pairs, units, notes),
    )
    materials = notes.first(read_materials(model, pairs, quantities, notes), "materials")
    return Extract(dimensions, materials, notes.partial, notes.reasons)


def _storeys(model: Model, units: Units, notes: Notes) -> list[Storey]:
    """From the lowest up, those without an elevation last."""
    found = []
    for entity in by_type(model, "IfcBuildingStorey"):
        name = attribute(entity, "Name")
        elevation = units.metric("length", attribute(entity, "Elevation"))
        found.append(Storey(None if name is None else clean(name), elevation))
    found.sort(key=lambda storey: (storey.elevation is None, storey.elevation or 0.0))
    return notes.first(found, "storeys")


def _counts(model: Model) -> dict[str, int]:
    """By class, subtypes included: an IfcWallStandardCase counts as that and as an IfcWall."""
    exact = Counter(entity.is_a() for name in _COUNTED for entity in by_type(model, name))
    counts: Counter[str] = Counter()
    for name, number in exact.items():
        for general in _with_supertypes(model, name):
            counts[general] += number
    return dict(sorted(counts.items()))


def _with_supertypes(model: Model, name: str) -> Iterator[str]:
    """The class and its supertypes down from the first abstract one."""
    declaration = ifcopenshell.schema_by_name(model.schema_identifier).declaration_by_name(name).as_entity()
    while declaration is not None and not declaration.is_abstract():
        yield declaration.name()
        declaration = declaration.supertype()
