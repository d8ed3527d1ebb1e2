"""The demo's own drawing: the ground floor of the house as a DXF floor plan in millimetres, the same every time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ezdxf
from ezdxf import units
from ezdxf.math import Matrix44

from linkspan.reference.plans.house import DEPTH, INNER, OUTER, THICKNESS, WALLS, WIDTH, Wall, openings

_LAYERS = {"A-WALL": 7, "A-DOOR": 3, "A-GLAZ": 5, "A-DIMS": 1}
_LAYER_OF = {"IfcDoor": "A-DOOR", "IfcWindow": "A-GLAZ"}
_ASIDE = 1000.0
_STYLE = {"dimtxt": 200.0, "dimasz": 150.0, "dimexe": 100.0, "dimexo": 100.0, "dimlfac": 1.0, "dimdec": 0}


def write_floor_plan(path: Path) -> None:
    """Write the drawing to ``path`` (``.dxf``, AC1024)."""
    with _fixed_meta_data():
        drawing = ezdxf.new("R2010", units=units.MM)
        for name, color in _LAYERS.items():
            drawing.layers.add(name, color=color)
        _add_blocks(drawing)
        for wall in WALLS:
            _draw_wall(drawing.modelspace(), wall)
        _draw_dimensions(drawing.modelspace())
        # ezdxf adds these from a set, in another order each run.
        for name in sorted(drawing.entitydb.dxf_types_in_use()):
            drawing.classes.add_class(name)
        drawing.saveas(path)


@contextmanager
def _fixed_meta_data() -> Iterator[None]:
    before = ezdxf.options.write_fixed_meta_data_for_testing
    ezdxf.options.write_fixed_meta_data_for_testing = True
    try:
        yield
    finally:
        ezdxf.options.write_fixed_meta_data_for_testing = before


def _add_blocks(drawing: Any) -> None:
    """Both one unit wide, to be scaled by the opening's width."""
    door = drawing.blocks.new("DOOR")
    door.add_line((0, 0), (0, 1))
    door.add_arc((0, 0), 1, 0, 90)
    window = drawing.blocks.new("WINDOW")
    window.add_lwpolyline([(0, 0), (1, 0), (1, 0.1), (0, 0.1)], close=True)


def _draw_wall(space: Any, wall: Wall) -> None:
    place = Matrix44.z_rotate(wall.turns * math.pi / 2) @ Matrix44.translate(wall.x * 1000, wall.y * 1000, 0)
    length, thick = wall.length * 1000, THICKNESS[wall.made_of] * 1000
    corners = place.transform_vertices([(0, 0), (length, 0), (length, thick), (0, thick)])
    space.add_lwpolyline([corner.vec2 for corner in corners], close=True, dxfattribs={"layer": "A-WALL"})
    for opening in openings(wall, 0):
        width = opening.width * 1000
        attributes = {"layer": _LAYER_OF[opening.kind], "rotation": 90 * wall.turns, "xscale": width, "yscale": width}
        name = opening.kind.removeprefix("Ifc").upper()
        space.add_blockref(name, place.transform((opening.along * 1000, 0, 0)), dxfattribs=attributes)


def _draw_dimensions(space: Any) -> None:
    """Outside and room sizes: width along the south, depth along the west."""
    wide, deep, outer = WIDTH * 1000, DEPTH * 1000, OUTER * 1000
    room = (DEPTH - INNER) / 2 * 1000
    for aside, start, end in ((2, 0.0, wide), (1, outer, wide - outer)):
        _dimension(space, (0, -aside * _ASIDE), (start, 0), (end, 0), 0)
    for aside, start, end in ((2, 0.0, deep), (1, outer, room), (1, deep - room, deep - outer)):
        _dimension(space, (-aside * _ASIDE, 0), (0, start), (0, end), 90)


def _dimension(space: Any, base: Any, start: Any, end: Any, angle: int) -> None:
    line = space.add_linear_dim(
        base=base, p1=start, p2=end, angle=angle, override=_STYLE, dxfattribs={"layer": "A-DIMS"}
    )
    line.render()
