"""The demo's own plan: a small two-storey house as IFC4, the same bytes every time with one ifcopenshell.

8 m by 10 m outside, storeys at 0 and 2.8 m. Sizes here are in m; the file's length unit is the millimetre, its areas
and volumes are in m2 and m3. Quantities follow from the sizes below, openings taken off.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ifcopenshell
import ifcopenshell.guid
import numpy as np
from ifcopenshell.api.aggregate import assign_object
from ifcopenshell.api.context import add_context
from ifcopenshell.api.feature import add_feature, add_filling
from ifcopenshell.api.geometry import (
    add_slab_representation,
    add_wall_representation,
    assign_representation,
    edit_object_placement,
)
from ifcopenshell.api.material import add_constituent, add_layer, add_material, add_material_set, assign_material
from ifcopenshell.api.project import create_file
from ifcopenshell.api.pset import add_qto, edit_qto
from ifcopenshell.api.root import create_entity
from ifcopenshell.api.spatial import assign_container
from ifcopenshell.api.unit import add_si_unit, assign_unit

WIDTH, DEPTH, STOREY, CLEAR = 8.0, 10.0, 2.8, 2.5
FLOORS = (("Ground floor", 0.0, ("Living room", "Kitchen")), ("Upper floor", STOREY, ("Bedroom", "Study")))

#: Name to layers (material, m): a wall from outside in, a floor from the top down.
_LAYERS = {
    "Outer wall": (("Lime render", 0.015), ("Mineral wool", 0.1), ("Brick", 0.235), ("Gypsum plaster", 0.015)),
    "Inner wall": (("Gypsum plaster", 0.015), ("Brick", 0.115), ("Gypsum plaster", 0.015)),
    "Floor": (("Cement screed", 0.06), ("Mineral wool", 0.04), ("Reinforced concrete", 0.2)),
    "Roof": (("Clay tiles", 0.03), ("Mineral wool", 0.2), ("Timber", 0.02)),
}
THICKNESS = {name: sum(size for _, size in layers) for name, layers in _LAYERS.items()}
OUTER, INNER = THICKNESS["Outer wall"], THICKNESS["Inner wall"]
_PITCH = math.radians(35)
_NAMESPACE = uuid.UUID("6f1f6a5e-3c0d-5f6c-9d6e-0c5b6a7d8e9f")


@dataclass(frozen=True, slots=True)
class Opening:
    """In m; ``along`` from the wall's start, ``sill`` above its foot."""

    kind: str
    along: float
    sill: float
    width: float
    height: float


_WINDOW = Opening("IfcWindow", 1.2, 0.9, 1.4, 1.3)
_DOOR = Opening("IfcDoor", 4.5, 0.0, 1.0, 2.1)
_INNER_DOOR = Opening("IfcDoor", 3.0, 0.0, 0.9, 2.0)


@dataclass(frozen=True, slots=True)
class Wall:
    """In m and quarter turns to the left; a wall's thickness is on its left side."""

    name: str
    made_of: str
    x: float
    y: float
    turns: int
    length: float


WALLS = (
    Wall("South wall", "Outer wall", 0.0, 0.0, 0, WIDTH),
    Wall("East wall", "Outer wall", WIDTH, OUTER, 1, DEPTH - 2 * OUTER),
    Wall("North wall", "Outer wall", WIDTH, DEPTH, 2, WIDTH),
    Wall("West wall", "Outer wall", 0.0, DEPTH - OUTER, 3, DEPTH - 2 * OUTER),
    Wall("Inner wall", "Inner wall", OUTER, (DEPTH - INNER) / 2, 0, WIDTH - 2 * OUTER),
)


def openings(wall: Wall, floor: int) -> tuple[Opening, ...]:
    if wall.made_of == "Inner wall":
        return (_INNER_DOOR,)
    return (_WINDOW, _DOOR) if wall.name == "South wall" and floor == 0 else (_WINDOW,)


def write_house(path: Path) -> None:
    """Write the house to ``path`` (``.ifc``), with fixed GUIDs and a fixed time stamp."""
    house = _House()
    for level, (name, elevation, rooms) in enumerate(FLOORS):
        house.add_storey(name, elevation)
        house.add_floor(level)
        for wall in WALLS:
            house.add_wall(wall, level)
        for place, room in enumerate(rooms):
            house.add_room(room, place)
    house.add_roof()
    house.finish(path)


class _House:
    def __init__(self) -> None:
        self.model = create_file("IFC4")
        project = create_entity(self.model, "IfcProject", name="Linkspan demo house")
        units = [add_si_unit(self.model, "LENGTHUNIT", prefix="MILLI")]
        units += [add_si_unit(self.model, kind) for kind in ("AREAUNIT", "VOLUMEUNIT", "PLANEANGLEUNIT")]
        assign_unit(self.model, units=units)
        space = add_context(self.model, "Model")
        self.body = add_context(self.model, "Model", "Body", "MODEL_VIEW", parent=space)
        site = create_entity(self.model, "IfcSite", name="Site")
        self.building = create_entity(self.model, "IfcBuilding", name="House")
        assign_object(self.model, products=[site], relating_object=project)
        assign_object(self.model, products=[self.building], relating_object=site)
        self.materials: dict[str, Any] = {}
        self.sets = {name: self._layer_set(name) for name in _LAYERS}
        self.frames = {kind: self._frame(kind) for kind in ("IfcDoor", "IfcWindow")}
        self.storey: Any = None
        self.elevation = 0.0

    def add_storey(self, name: str, elevation: float) -> None:
        self.elevation = elevation
        self.storey = create_entity(self.model, "IfcBuildingStorey", name=name)
        self.storey.Elevation = elevation * 1000
        assign_object(self.model, products=[self.storey], relating_object=self.building)
        edit_object_placement(self.model, product=self.storey, matrix=_placed(0, 0, elevation))

    def add_floor(self, level: int) -> None:
        slab = self._element("IfcSlab", f"Floor {level}", "Floor")
        slab.PredefinedType = "FLOOR" if level else "BASESLAB"
        depth = THICKNESS["Floor"]
        self._slab_body(slab, WIDTH, DEPTH, depth, _placed(0, 0, self.elevation - depth))
        area = WIDTH * DEPTH
        self._quantities(
            slab,
            "Slab",
            Depth=depth * 1000,
            GrossArea=area,
            NetArea=area,
            GrossVolume=area * depth,
            NetVolume=area * depth,
        )

    def add_wall(self, wall: Wall, level: int) -> None:
        element = self._element("IfcWall", wall.name, wall.made_of)
        thick = THICKNESS[wall.made_of]
        matrix = _placed(wall.x, wall.y, self.elevation, wall.turns)
        self._box(element, wall.length, thick, CLEAR, matrix)
        for opening in openings(wall, level):
            self._open(element, opening, thick, matrix)
        gross = wall.length * CLEAR
        net = gross - sum(one.width * one.height for one in openings(wall, level))
        sizes = {"Length": wall.length * 1000, "Width": thick * 1000, "Height": CLEAR * 1000}
        areas = {"GrossSideArea": gross, "NetSideArea": net}
        self._quantities(element, "Wall", **sizes, **areas, GrossVolume=gross * thick, NetVolume=net * thick)

    def add_room(self, name: str, place: int) -> None:
        wide, deep = WIDTH - 2 * OUTER, (DEPTH - INNER) / 2 - OUTER
        room = create_entity(self.model, "IfcSpace", name=name)
        assign_object(self.model, products=[room], relating_object=self.storey)
        foot = OUTER + place * (deep + INNER)
        self._box(room, wide, deep, CLEAR, _placed(OUTER, foot, self.elevation))
        area, sizes = wide * deep, {"Height": CLEAR * 1000, "NetPerimeter": 2000 * (wide + deep)}
        self._quantities(room, "Space", **sizes, NetFloorArea=area, NetVolume=area * CLEAR)

    def add_roof(self) -> None:
        roof = create_entity(self.model, "IfcRoof", name="Gable roof")
        roof.PredefinedType = "GABLE_ROOF"
        assign_container(self.model, products=[roof], relating_structure=self.storey)
        run, thick, eaves = WIDTH / 2 / math.cos(_PITCH), THICKNESS["Roof"], self.elevation + CLEAR
        for name, mirrored in (("West slope", False), ("East slope", True)):
            slab = create_entity(self.model, "IfcSlab", name=name)
            slab.PredefinedType = "ROOF"
            assign_object(self.model, products=[slab], relating_object=roof)
            assign_material(self.model, products=[slab], type="IfcMaterialLayerSet", material=self.sets["Roof"])
            self._slab_body(slab, run, DEPTH, thick, _sloped(eaves, mirrored=mirrored))
            area = run * DEPTH
            self._quantities(slab, "Slab", Depth=thick * 1000, NetArea=area, NetVolume=area * thick)

    def finish(self, path: Path) -> None:
        for place, rooted in enumerate(sorted(self.model.by_type("IfcRoot"), key=lambda one: one.id())):
            rooted.GlobalId = ifcopenshell.guid.compress(uuid.uuid5(_NAMESPACE, str(place)).hex)
        header = self.model.header.file_name
        header.name, header.time_stamp = "house.ifc", "2026-01-01T00:00:00"
        self.model.write(str(path))

    def _layer_set(self, name: str) -> Any:
        found = add_material_set(self.model, name=name, set_type="IfcMaterialLayerSet")
        for material, size in _LAYERS[name]:
            layer = add_layer(self.model, layer_set=found, material=self._material(material))
            layer.LayerThickness = round(size * 1000, 6)
        return found

    def _frame(self, kind: str) -> Any:
        found = add_material_set(self.model, name=kind.removeprefix("Ifc"), set_type="IfcMaterialConstituentSet")
        parts = {"IfcDoor": (("Timber", 1.0),), "IfcWindow": (("Timber", 0.4), ("Glass", 0.6))}[kind]
        for material, fraction in parts:
            one = add_constituent(self.model, constituent_set=found, material=self._material(material))
            one.Name, one.Fraction = material, fraction
        return found

    def _material(self, name: str) -> Any:
        if name not in self.materials:
            self.materials[name] = add_material(self.model, name=name)
        return self.materials[name]

    def _element(self, kind: str, name: str, made_of: str) -> Any:
        element = create_entity(self.model, kind, name=name)
        assign_container(self.model, products=[element], relating_structure=self.storey)
        assign_material(self.model, products=[element], type="IfcMaterialLayerSet", material=self.sets[made_of])
        return element

    def _open(self, wall: Any, opening: Opening, thick: float, matrix: Any) -> None:
        hole = create_entity(self.model, "IfcOpeningElement", name=f"Opening in {wall.Name}")
        place = matrix @ _placed(opening.along, 0, opening.sill)
        self._box(hole, opening.width, thick, opening.height, place)
        add_feature(self.model, feature=hole, element=wall)
        filling = create_entity(self.model, opening.kind, name=f"{opening.kind.removeprefix('Ifc')} in {wall.Name}")
        filling.OverallWidth, filling.OverallHeight = opening.width * 1000, opening.height * 1000
        assign_container(self.model, products=[filling], relating_structure=self.storey)
        frame = self.frames[opening.kind]
        assign_material(self.model, products=[filling], type="IfcMaterialConstituentSet", material=frame)
        self._box(filling, opening.width, thick / 3, opening.height, place @ _placed(0, thick / 3, 0))
        add_filling(self.model, opening=hole, element=filling)
        sizes = {"Width": opening.width * 1000, "Height": opening.height * 1000}
        self._quantities(filling, opening.kind.removeprefix("Ifc"), **sizes, Area=opening.width * opening.height)

    def _box(self, element: Any, length: float, depth: float, height: float, matrix: Any) -> None:
        shape = add_wall_representation(self.model, self.body, length=length, height=height, thickness=depth)
        self._shape(element, shape, matrix)

    def _slab_body(self, element: Any, length: float, depth: float, thick: float, matrix: Any) -> None:
        corners = [(0.0, 0.0), (length, 0.0), (length, depth), (0.0, depth)]
        shape = add_slab_representation(self.model, self.body, depth=thick, polyline=corners)
        self._shape(element, shape, matrix)

    def _shape(self, element: Any, shape: Any, matrix: Any) -> None:
        edit_object_placement(self.model, product=element, matrix=matrix)
        assign_representation(self.model, product=element, representation=shape)

    def _quantities(self, element: Any, of: str, **values: float) -> None:
        found = add_qto(self.model, product=element, name=f"Qto_{of}BaseQuantities")
        edit_qto(self.model, qto=found, properties={name: round(value, 6) for name, value in values.items()})


def _placed(x: float, y: float, z: float, turns: int = 0) -> Any:
    """A 4 by 4 matrix: a move and quarter turns about the vertical."""
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns]
    return np.array([[cos, -sin, 0, x], [sin, cos, 0, y], [0, 0, 1, z], [0, 0, 0, 1]], dtype=float)


def _sloped(eaves: float, *, mirrored: bool) -> Any:
    """From the eaves up to the ridge; the mirrored slope is the other turned half round."""
    cos, sin = math.cos(_PITCH), math.sin(_PITCH)
    slope = np.array([[cos, 0, -sin, 0], [0, 1, 0, 0], [sin, 0, cos, 0], [0, 0, 0, 1]], dtype=float)
    return (_placed(WIDTH, DEPTH, eaves, 2) if mirrored else _placed(0, 0, eaves)) @ slope
