"""The drawing unit: what ``$INSUNITS`` declares, and whether the drawing itself makes that believable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from linkspan.reference.plans.notes import Notes, number
from linkspan.reference.plans.shape import Confidence, Extents

#: ``$INSUNITS`` (AutoCAD DXF Reference, HEADER section): name, metres. 1, 2, 3, 8, 9, 10 by the international
#: inch of 0.0254 m; 21 to 24 by the US survey foot of 1200/3937 m (NIST Handbook 44, appendix C).
_FOOT = 0.3048
_SURVEY_FOOT = 1200 / 3937
_UNITS: dict[int, tuple[str, float]] = {
    1: ("INCH", 0.0254),
    2: ("FOOT", _FOOT),
    3: ("MILE", 5280 * _FOOT),
    4: ("MILLIMETRE", 0.001),
    5: ("CENTIMETRE", 0.01),
    6: ("METRE", 1.0),
    7: ("KILOMETRE", 1000.0),
    8: ("MICROINCH", 0.0254e-6),
    9: ("MIL", 0.0254e-3),
    10: ("YARD", 3 * _FOOT),
    11: ("ANGSTROM", 1e-10),
    12: ("NANOMETRE", 1e-9),
    13: ("MICROMETRE", 1e-6),
    14: ("DECIMETRE", 0.1),
    15: ("DECAMETRE", 10.0),
    16: ("HECTOMETRE", 100.0),
    17: ("GIGAMETRE", 1e9),
    18: ("ASTRONOMICAL_UNIT", 149_597_870_700.0),
    19: ("LIGHT_YEAR", 9_460_730_472_580_800.0),
    20: ("PARSEC", 3.085677581491367e16),
    21: ("US_SURVEY_FOOT", _SURVEY_FOOT),
    22: ("US_SURVEY_INCH", _SURVEY_FOOT / 12),
    23: ("US_SURVEY_YARD", _SURVEY_FOOT * 3),
    24: ("US_SURVEY_MILE", _SURVEY_FOOT * 5280),
}
#: DIMLUNIT 3 (engineering) and 4 (architectural) write feet and inches, and take a drawing unit for an inch.
_INCH_STYLES = {3: "engineering", 4: "architectural"}
_INCHES = {"INCH", "US_SURVEY_INCH"}
#: A building plan is between a small room and a large site; our own bound, wide on purpose.
_SMALLEST, _LARGEST = 1.5, 20_000.0


@dataclass(frozen=True, slots=True)
class DrawingUnit:
    name: str | None
    metres: float | None
    confidence: Confidence


def judge_unit(drawing: Any, extents: Extents | None, styles: set[str], notes: Notes) -> DrawingUnit:
    """``styles``: the names of the dimension styles in use. A doubtful unit keeps its name and loses its metres."""
    declared = drawing.header.get("$INSUNITS")
    code = declared if isinstance(declared, int) else None
    if not code:
        notes.say("the drawing states no unit ($INSUNITS): all its figures are in drawing units")
        return DrawingUnit(None, None, "unknown")
    if code not in _UNITS:
        notes.say(f"the drawing states an unknown unit ($INSUNITS {code}): all its figures are in drawing units")
        return DrawingUnit(None, None, "unknown")
    name, metres = _UNITS[code]
    doubts = [*_inch_styles(drawing, styles, name), *_implausible(extents, name, metres)]
    if not doubts:
        return DrawingUnit(name, metres, "stated")
    notes.say(f"the drawing declares {name}, which is doubtful: {'; '.join(doubts)}; figures stay in drawing units")
    return DrawingUnit(name, None, "low")


def _inch_styles(drawing: Any, styles: set[str], name: str) -> list[str]:
    if name in _INCHES:
        return []
    found = []
    for style in sorted(styles):
        known = drawing.dimstyles.has_entry(style)
        written = _INCH_STYLES.get(drawing.dimstyles.get(style).dxf.get("dimlunit")) if known else None
        if written:
            found.append(f"dimension style {style} is {written}, in feet and inches, so INCH is suspected")
    return found[:1]


def _implausible(extents: Extents | None, name: str, metres: float) -> list[str]:
    if extents is None:
        return []
    largest = number(max(high - low for low, high in zip(extents.min, extents.max, strict=True)))
    if largest is None or not largest:
        return []
    across = largest * metres
    if _SMALLEST <= across <= _LARGEST:
        return []
    return [f"{largest:.6g} units across would be {across:.3g} m as {name}"]
