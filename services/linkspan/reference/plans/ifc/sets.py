"""Layer, profile and constituent sets and lists: their order, and how they divide an element's volume."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from linkspan.reference.plans.ifc.open import Entity, Model, attribute, by_type, is_a, several
from linkspan.reference.plans.ifc.units import Units
from linkspan.reference.plans.notes import Notes, clean, number, total
from linkspan.reference.plans.shape import MaterialSet, SetKind, SetMember

_SETS: dict[str, tuple[SetKind, str]] = {
    "IfcMaterialLayerSet": ("layers", "MaterialLayers"),
    "IfcMaterialProfileSet": ("profiles", "MaterialProfiles"),
    "IfcMaterialConstituentSet": ("constituents", "MaterialConstituents"),
    "IfcMaterialList": ("list", "Materials"),
}
_USAGES = {"IfcMaterialLayerSetUsage": "ForLayerSet", "IfcMaterialProfileSetUsage": "ForProfileSet"}
_SINGLE = ("IfcMaterialLayer", "IfcMaterialProfile", "IfcMaterialConstituent")
_MEMBERS = 100


@dataclass(frozen=True, slots=True)
class Member:
    """``share`` of the element's volume, None where the file does not divide it; ``covers``: has its whole area."""

    material: str | None
    share: float | None
    covers: bool


def material_name(material: Entity) -> str | None:
    if not is_a(material, "IfcMaterial"):
        return None
    name = attribute(material, "Name")
    return clean(name) if name else "(unnamed)"


def definition_of(relating: Entity) -> Entity | None:
    """A material, a set, or one layer, profile or constituent; a usage stands for its set."""
    for usage, name in _USAGES.items():
        if is_a(relating, usage):
            relating = attribute(relating, name)
    return relating if is_a(relating, "IfcMaterial", *_SETS, *_SINGLE) else None


def members_of(definition: Entity) -> list[Member]:
    if is_a(definition, "IfcMaterial"):
        return [Member(material_name(definition), 1.0, covers=True)]
    if is_a(definition, *_SINGLE):
        return [Member(material_name(attribute(definition, "Material")), 1.0, covers=True)]
    kind, parts = _parts(definition)
    shares = _shares(kind, parts)
    covers = kind == "layers" or len(parts) == 1
    return [Member(_material(part), share, covers) for part, share in zip(parts, shares, strict=True)]


def read_sets(model: Model, pairs: list[tuple[Entity, Entity]], units: Units, notes: Notes) -> list[MaterialSet]:
    """All sets of the file, in its order, used or not."""
    used = Counter(definition.id() for _, definition in pairs)
    found = sorted((one for name in _SETS for one in by_type(model, name)), key=lambda one: one.id())
    return [_read_set(one, used[one.id()], units, notes) for one in notes.first(found, "material sets")]


def _read_set(one: Entity, elements: int, units: Units, notes: Notes) -> MaterialSet:
    kind, parts = _parts(one)
    members = [_read_member(part, place, units) for place, part in enumerate(parts, 1)]
    thicknesses = [member.thickness for member in members]
    known = [thickness for thickness in thicknesses if thickness is not None]
    name = attribute(one, "LayerSetName" if kind == "layers" else "Name")
    return MaterialSet(
        name=None if name is None else clean(name),
        kind=kind,
        elements=elements,
        thickness=total(known) if known and len(known) == len(thicknesses) else None,
        members=notes.first(members, "members of a material set", _MEMBERS),
    )


def _read_member(part: Entity, position: int, units: Units) -> SetMember:
    profile = attribute(attribute(part, "Profile"), "ProfileName")
    return SetMember(
        position=position,
        material=_material(part),
        thickness=units.metric("length", attribute(part, "LayerThickness")),
        fraction=number(attribute(part, "Fraction")),
        profile=None if profile is None else clean(profile),
    )


def _parts(one: Entity) -> tuple[SetKind, list[Entity]]:
    """Layers, profiles and constituents, or the materials of a list; the class is matched with its subtypes."""
    kind, name = next(value for key, value in _SETS.items() if is_a(one, key))
    return kind, [part for part in several(one, name) if is_a(part, "IfcMaterial", *_SINGLE)]


def _material(part: Entity) -> str | None:
    return material_name(part) if is_a(part, "IfcMaterial") else material_name(attribute(part, "Material"))


def _shares(kind: SetKind, parts: list[Entity]) -> list[float | None]:
    if kind == "layers":
        return _by_thickness([number(attribute(part, "LayerThickness")) for part in parts])
    if len(parts) == 1:
        return [1.0]
    fractions = [number(attribute(part, "Fraction")) for part in parts]
    stated = [fraction for fraction in fractions if fraction is not None and 0 <= fraction <= 1]
    return [*stated] if kind == "constituents" and len(stated) == len(parts) else [None] * len(parts)


def _by_thickness(thicknesses: list[float | None]) -> list[float | None]:
    known = [thickness for thickness in thicknesses if thickness is not None and thickness >= 0]
    whole = total(known)
    if len(known) < len(thicknesses) or not whole:
        return [None] * len(thicknesses)
    return [thickness / whole for thickness in known]
