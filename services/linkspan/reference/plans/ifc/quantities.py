"""Stored quantities (IfcElementQuantity): lengths, areas and volumes. Weights, counts and times are not taken."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from linkspan.reference.plans.ifc.open import Entity, Model, attribute, by_type, is_a, several
from linkspan.reference.plans.ifc.units import METRIC, Units, unit_of
from linkspan.reference.plans.notes import Notes, clean, number, scaled, total
from linkspan.reference.plans.shape import Kind, MetricUnit, Quantity

_VALUES: dict[str, tuple[Kind, str]] = {
    "IfcQuantityLength": ("length", "LengthValue"),
    "IfcQuantityArea": ("area", "AreaValue"),
    "IfcQuantityVolume": ("volume", "VolumeValue"),
}
_VARIANT = re.compile(r"(?:StandardCase|ElementedCase)$")


@dataclass(frozen=True, slots=True)
class Stored:
    """One quantity of one element; ``unit`` None: ``value`` is in a unit the file does not state."""

    kind: Kind
    value: float
    unit: MetricUnit | None


def plain_class(entity: Entity) -> str:
    """The class, a wall's ``IfcWallStandardCase`` being an ``IfcWall`` (deprecated variants, ISO 16739-1:2018)."""
    return _VARIANT.sub("", str(entity.is_a()))


class Quantities:
    """By element id and quantity name; a name that an element states twice counts once."""

    def __init__(self, model: Model, units: Units, notes: Notes) -> None:
        self._units, self._notes = units, notes
        self._of: dict[int, dict[str, Stored]] = {}
        self._elements: dict[int, Entity] = {}
        self._twice = 0
        for element, sets in _sets_by_element(model):
            self._elements[element.id()] = element
            self._of[element.id()] = self._read(sets)
        self._note(model)

    def of(self, element: Entity) -> dict[str, Stored]:
        return self._of.get(element.id(), {})

    def summed(self) -> list[Quantity]:
        """Sorted by class and name."""
        parts: dict[tuple[str, str, Kind, MetricUnit | None], list[float]] = defaultdict(list)
        for element_id, stored in self._of.items():
            entity = plain_class(self._elements[element_id])
            for name, one in stored.items():
                parts[entity, name, one.kind, one.unit].append(one.value)
        found = []
        for (entity, name, kind, unit), values in sorted(
            parts.items(), key=lambda item: (item[0][:3], str(item[0][3]))
        ):
            value = total(values)
            if value is not None:
                found.append(Quantity(entity, name, kind, value, unit, len(values)))
        return found

    def _read(self, sets: list[Entity]) -> dict[str, Stored]:
        found: dict[str, Stored] = {}
        for quantity_set in sorted(sets, key=_preference):
            for quantity in several(quantity_set, "Quantities"):
                name = clean(attribute(quantity, "Name") or "")
                stored = self._stored(quantity)
                if stored is None or not name:
                    continue
                self._twice += found.setdefault(name, stored) != stored
        return found

    def _stored(self, quantity: Entity) -> Stored | None:
        if not is_a(quantity, *_VALUES):
            return None
        kind, value_name = _VALUES[quantity.is_a()]
        value = number(attribute(quantity, value_name))
        if value is None:
            self._notes.say("some stored quantities are no finite numbers: they are left out")
            return None
        own = attribute(quantity, "Unit")
        unit = unit_of(own) if own is not None else self._units.stated.get(kind)
        if unit is None or (own is None and kind == "length" and self._units.confidence != "stated"):
            self._notes.say(f"the unit of some stored {kind}s is not known: their values are as in the file")
            return Stored(kind, value, None)
        metric = scaled(value, unit.scale)
        return None if metric is None else Stored(kind, metric, METRIC[kind])

    def _note(self, model: Model) -> None:
        if self._twice:
            self._notes.say(f"{self._twice} quantities are stated twice with different values: one of each was taken")
        if by_type(model, "IfcPhysicalComplexQuantity"):
            self._notes.say("the file holds composite quantities, which are not taken")


def _preference(quantity_set: Entity) -> tuple[int, int]:
    """Standard sets first: ``Qto_`` (IFC4), ``BaseQuantities`` (IFC2x3)."""
    name = str(attribute(quantity_set, "Name") or "")
    rank = 0 if name.startswith("Qto_") else 1 if name == "BaseQuantities" else 2
    return rank, quantity_set.id()


def _sets_by_element(model: Model) -> Iterator[tuple[Entity, list[Entity]]]:
    sets: dict[int, list[Entity]] = defaultdict(list)
    elements: dict[int, Entity] = {}
    for relation in by_type(model, "IfcRelDefinesByProperties"):
        definitions = [one for one in _definitions(relation) if is_a(one, "IfcElementQuantity")]
        for element in several(relation, "RelatedObjects") if definitions else ():
            if is_a(element, "IfcObject"):
                elements[element.id()] = element
                sets[element.id()] += [one for one in definitions if one not in sets[element.id()]]
    return ((elements[element_id], sets[element_id]) for element_id in sorted(elements))


def _definitions(relation: Entity) -> tuple[Any, ...]:
    definition = attribute(relation, "RelatingPropertyDefinition")
    if is_a(definition, "IfcPropertySetDefinitionSet"):
        return several(definition, "wrappedValue")
    return (definition,)
