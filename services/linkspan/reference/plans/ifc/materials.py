"""Materials of an IFC file, the sets they form, and what the stored quantities say of each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from linkspan.reference.plans.ifc.open import Entity, Model, attribute, by_type, is_a, several
from linkspan.reference.plans.ifc.quantities import Quantities, Stored, plain_class
from linkspan.reference.plans.ifc.sets import Member, definition_of, material_name, members_of
from linkspan.reference.plans.notes import Notes, clean, total
from linkspan.reference.plans.shape import Element, Material

_AREAS = ("NetSideArea", "NetArea")
_BARE = 50


@dataclass(slots=True)
class _Gathered:
    elements: int = 0
    volumes: list[float] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    bare: list[Element] = field(default_factory=list)


def elements_by_definition(model: Model) -> list[tuple[Entity, Entity]]:
    """(element, its material or set), its own or else its type's; each element once."""
    own: dict[int, Entity] = {}
    objects: dict[int, Entity] = {}
    for relation in by_type(model, "IfcRelAssociatesMaterial"):
        definition = definition_of(attribute(relation, "RelatingMaterial"))
        for thing in several(relation, "RelatedObjects") if definition is not None else ():
            if is_a(thing, "IfcObject", "IfcTypeObject"):
                own.setdefault(thing.id(), definition)
                objects[thing.id()] = thing
    for relation in by_type(model, "IfcRelDefinesByType"):
        kind = attribute(relation, "RelatingType")
        inherited = own.get(kind.id()) if is_a(kind, "IfcTypeObject") else None
        for thing in several(relation, "RelatedObjects") if inherited is not None else ():
            if is_a(thing, "IfcObject"):
                own.setdefault(thing.id(), inherited)
                objects[thing.id()] = thing
    return [(objects[one], own[one]) for one in sorted(own) if is_a(objects[one], "IfcObject")]


def read_materials(
    model: Model, pairs: list[tuple[Entity, Entity]], quantities: Quantities, notes: Notes
) -> list[Material]:
    """One entry a name, sorted; a material that no element uses is there with no elements."""
    gathered: dict[str, _Gathered] = defaultdict(_Gathered)
    for material in by_type(model, "IfcMaterial"):
        _ = gathered[material_name(material) or ""]
    divided = _wholes_counted_by_parts(model, pairs, quantities)
    for element, definition in pairs:
        if element.id() in divided:
            notes.say("some wholes and their parts both state volumes: materials count those of the parts")
            continue
        _gather(gathered, element, members_of(definition), quantities.of(element))
    return [
        Material(
            name=name,
            elements=one.elements,
            net_volume=total(one.volumes) if one.volumes else None,
            net_area=total(one.areas) if one.areas else None,
            without_volume=len(one.bare),
            elements_without_volume=one.bare[:_BARE],
        )
        for name, one in sorted(gathered.items())
    ]


def _gather(gathered: dict[str, _Gathered], element: Entity, members: list[Member], stored: dict[str, Stored]) -> None:
    """A layer has its share of the volume by thickness and the whole of the area."""
    volume = stored.get("NetVolume")
    area = next((stored[name] for name in _AREAS if name in stored), None)
    for name in sorted({member.material for member in members if member.material is not None}):
        parts = [member for member in members if member.material == name]
        one = gathered[name]
        one.elements += 1
        if volume is None or volume.unit != "m3" or any(part.share is None for part in parts):
            one.bare.append(_element(element))
        else:
            one.volumes.append(volume.value * sum(part.share or 0.0 for part in parts))
        if area is not None and area.unit == "m2" and all(part.covers for part in parts):
            one.areas.append(area.value)


def _wholes_counted_by_parts(model: Model, pairs: list[tuple[Entity, Entity]], quantities: Quantities) -> set[int]:
    measured = {element.id() for element, _ in pairs if "NetVolume" in quantities.of(element)}
    wholes = set()
    for relation in by_type(model, "IfcRelAggregates"):
        whole = attribute(relation, "RelatingObject")
        if is_a(whole, "IfcElement") and whole.id() in measured:
            parts = [part for part in several(relation, "RelatedObjects") if is_a(part, "IfcElement")]
            wholes |= {whole.id()} if any(part.id() in measured for part in parts) else set()
    return wholes


def _element(entity: Entity) -> Element:
    name = attribute(entity, "Name")
    return Element(
        global_id=clean(attribute(entity, "GlobalId") or "", 40),
        entity=plain_class(entity),
        name=None if name is None else clean(name),
    )
