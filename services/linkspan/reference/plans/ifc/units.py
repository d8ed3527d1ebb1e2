"""The units an IFC file states, read raw: a unit it does not state is never assumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from linkspan.reference.plans.ifc.open import Entity, Model, attribute, by_type, is_a, several
from linkspan.reference.plans.notes import Notes, clean, number, scaled
from linkspan.reference.plans.shape import Confidence, Kind, MetricUnit

#: SI prefixes (BIPM, The International System of Units, 9th edition, table 7), in the words of IfcSIPrefix.
_PREFIXES = {
    "EXA": 1e18,
    "PETA": 1e15,
    "TERA": 1e12,
    "GIGA": 1e9,
    "MEGA": 1e6,
    "KILO": 1e3,
    "HECTO": 1e2,
    "DECA": 1e1,
    "DECI": 1e-1,
    "CENTI": 1e-2,
    "MILLI": 1e-3,
    "MICRO": 1e-6,
    "NANO": 1e-9,
    "PICO": 1e-12,
    "FEMTO": 1e-15,
    "ATTO": 1e-18,
}
_KINDS: dict[str, tuple[Kind, str, int]] = {
    "LENGTHUNIT": ("length", "METRE", 1),
    "AREAUNIT": ("area", "SQUARE_METRE", 2),
    "VOLUMEUNIT": ("volume", "CUBIC_METRE", 3),
}
METRIC: dict[Kind, MetricUnit] = {"length": "m", "area": "m2", "volume": "m3"}


@dataclass(frozen=True, slots=True)
class Unit:
    """``scale`` is m, m2 or m3 per unit."""

    name: str
    scale: float


@dataclass(frozen=True, slots=True)
class Units:
    stated: dict[Kind, Unit]
    confidence: Confidence

    def metric(self, kind: Kind, value: object) -> float | None:
        """``value`` in m, m2 or m3; None where it is no number or the unit is not known for sure."""
        unit, figure = self.stated.get(kind), number(value)
        if unit is None or figure is None or (kind == "length" and self.confidence != "stated"):
            return None
        return scaled(figure, unit.scale)


def read_units(model: Model, notes: Notes) -> Units:
    stated: dict[Kind, Unit] = {}
    confidence: Confidence = "stated"
    for entity in _assigned(model, notes):
        kind = _KINDS.get(str(attribute(entity, "UnitType")), (None,))[0]
        unit = unit_of(entity)
        if kind is None or unit is None:
            continue
        first = stated.setdefault(kind, unit)
        if first.scale != unit.scale:
            notes.say(f"the file states two units of {kind}, {first.name} and {unit.name}: the first was taken")
            confidence = "low" if kind == "length" else confidence
    if "length" not in stated:
        notes.say("the file states no length unit that can be read: elevations and thicknesses are left out")
        confidence = "unknown"
    return Units(stated, confidence)


def unit_of(entity: Entity) -> Unit | None:
    """A length, area or volume unit; None for any other and for one that cannot be read."""
    known = _KINDS.get(str(attribute(entity, "UnitType")))
    if known is None:
        return None
    if is_a(entity, "IfcSIUnit"):
        return _si(entity, known[1], known[2])
    if is_a(entity, "IfcConversionBasedUnit"):
        factor = attribute(entity, "ConversionFactor")
        base, value = attribute(factor, "UnitComponent"), number(_bare(attribute(factor, "ValueComponent")))
        si = _si(base, known[1], known[2]) if is_a(base, "IfcSIUnit") else None
        scale = scaled(value, si.scale) if si and value else None
        return Unit(clean(attribute(entity, "Name")).upper(), scale) if scale and scale > 0 else None
    return None


def _si(entity: Entity, name: str, power: int) -> Unit | None:
    """A prefix belongs to the metre, so that a milli square metre is a square millimetre (ISO 16739, IfcSIUnit)."""
    if attribute(entity, "Name") != name:
        return None
    prefix = attribute(entity, "Prefix")
    if prefix is None:
        return Unit(name, 1.0)
    factor = _PREFIXES.get(str(prefix))
    return Unit(f"{prefix}{name}" if power == 1 else f"{prefix} {name}", factor**power) if factor else None


def _bare(value: Any) -> object:
    return attribute(value, "wrappedValue") if value is not None and not isinstance(value, int | float) else value


def _assigned(model: Model, notes: Notes) -> tuple[Any, ...]:
    projects = [*by_type(model, "IfcProject")]
    if len(projects) > 1:
        notes.say(f"the file holds {len(projects)} projects: units are those of the first")
    for project in projects:
        assignment = attribute(project, "UnitsInContext")
        if is_a(assignment, "IfcUnitAssignment"):
            return several(assignment, "Units")
    orphans = [] if projects else by_type(model, "IfcUnitAssignment")
    return several(orphans[0], "Units") if len(orphans) == 1 else ()
