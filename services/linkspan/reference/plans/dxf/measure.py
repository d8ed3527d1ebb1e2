"""What the dimension lines of a drawing measure."""

from __future__ import annotations

import math
from typing import Any

from ezdxf.lldxf.const import DXFError

from linkspan.reference.plans.notes import Notes, clean, number, total
from linkspan.reference.plans.shape import Measurement, MeasurementKind, Measurements

#: The low bits of group 70 (AutoCAD DXF Reference, DIMENSION).
_KINDS: dict[int, MeasurementKind] = {
    0: "linear",
    1: "aligned",
    2: "angular",
    3: "diameter",
    4: "radius",
    5: "angular",
    6: "ordinate",
}
_LENGTHS = {"linear", "aligned", "diameter", "radius"}
_LISTED = 200


def read_measurements(dimensions: list[Any], notes: Notes) -> Measurements:
    """Bounded list in the order of the drawing; ``overridden`` dimensions show another text than they measure."""
    read = [one for one in (_read(dimension) for dimension in dimensions) if one is not None]
    if len(read) < len(dimensions):
        notes.say(f"{len(dimensions) - len(read)} dimensions state no measurement")
    lengths = [one.value for one in read if one.kind in _LENGTHS]
    return Measurements(
        count=len(dimensions),
        lengths=len(lengths),
        sum=total(lengths) or 0.0,
        max=max(lengths, default=None),
        overridden=sum(dimension.dxf.get("text", "") not in {"", "<>"} for dimension in dimensions),
        listed=notes.first(read, "dimension measurements", _LISTED),
    )


def _read(dimension: Any) -> Measurement | None:
    kind = _KINDS.get(dimension.dxf.get("dimtype", 0) & 7)
    if kind is None:
        return None
    value = _stated(dimension, kind)
    if value is None:
        value = _measured(dimension)
    return None if value is None else Measurement(clean(dimension.dxf.get("layer", "0")), kind, value)


def _stated(dimension: Any, kind: MeasurementKind) -> float | None:
    """Group 42, in radians for angles; absent or negative where the drawing program did not write it."""
    value = number(dimension.dxf.get("actual_measurement"))
    if value is None or (value < 0 and kind != "ordinate"):
        return None
    return number(math.degrees(value)) if kind == "angular" else value


def _measured(dimension: Any) -> float | None:
    try:
        measured = dimension.get_measurement()
    except (DXFError, ArithmeticError, TypeError, ValueError, AttributeError):
        return None
    return number(measured)
