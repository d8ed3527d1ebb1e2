"""The shape of an extract: what the confined process answers, and what ``schemas/plans/PlanExtract.1.avsc`` describes.

Lengths are in m, areas in m2, volumes in m3 where a field does not say "drawing units". ``None`` is "the file does not
state it" or "its unit is not known". Field names become camelCase in JSON.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

Kind = Literal["length", "area", "volume"]
MetricUnit = Literal["m", "m2", "m3"]
Confidence = Literal["stated", "low", "unknown"]
SetKind = Literal["layers", "profiles", "constituents", "list"]
MeasurementKind = Literal["linear", "aligned", "angular", "diameter", "radius", "ordinate"]


class Storey(Struct, frozen=True, rename="camel"):
    name: str | None
    elevation: float | None


class Quantity(Struct, frozen=True, rename="camel"):
    """The sum over ``elements`` elements; ``unit`` None: in the file's own unit, which it does not state."""

    entity: str
    quantity: str
    kind: Kind
    value: float
    unit: MetricUnit | None
    elements: int


class SetMember(Struct, frozen=True, rename="camel"):
    position: int
    material: str | None
    thickness: float | None = None
    fraction: float | None = None
    profile: str | None = None


class MaterialSet(Struct, frozen=True, rename="camel"):
    name: str | None
    kind: SetKind
    elements: int
    thickness: float | None
    members: list[SetMember]


class Layer(Struct, frozen=True, rename="camel"):
    name: str
    entities: int


class Measurement(Struct, frozen=True, rename="camel"):
    """``value`` in drawing units, degrees where ``kind`` is angular."""

    layer: str
    kind: MeasurementKind
    value: float


class Measurements(Struct, frozen=True, rename="camel"):
    """``sum`` and ``max`` (drawing units) are over lengths: neither angles nor ordinates."""

    count: int
    lengths: int
    sum: float
    max: float | None
    overridden: int
    listed: list[Measurement]


class Extents(Struct, frozen=True, rename="camel"):
    """Drawing units, three numbers each."""

    min: list[float]
    max: list[float]


class Dimensions(Struct, frozen=True, rename="camel"):
    """``metres_per_unit`` is there only with ``unit_confidence`` stated: a doubtful unit converts nothing."""

    format: Literal["IFC", "DXF"]
    schema: str
    length_unit: str | None
    metres_per_unit: float | None
    unit_confidence: Confidence
    counts: dict[str, int]
    storeys: list[Storey] = field(default_factory=list)
    quantities: list[Quantity] = field(default_factory=list)
    material_sets: list[MaterialSet] = field(default_factory=list)
    extents: Extents | None = None
    layers: list[Layer] = field(default_factory=list)
    blocks: dict[str, int] = field(default_factory=dict)
    hatch_patterns: dict[str, int] = field(default_factory=dict)
    measurements: Measurements | None = None


class Element(Struct, frozen=True, rename="camel"):
    global_id: str
    entity: str
    name: str | None


class Material(Struct, frozen=True, rename="camel"):
    """``without_volume`` counts the elements whose volume of this material is not stated; some of them are listed."""

    name: str
    elements: int
    net_volume: float | None
    net_area: float | None
    without_volume: int
    elements_without_volume: list[Element]


class Extract(Struct, frozen=True, rename="camel", tag="extract", tag_field="answer"):
    dimensions: Dimensions
    materials: list[Material]
    partial: bool
    reasons: list[str]


class Refusal(Struct, frozen=True, tag="refusal", tag_field="answer"):
    """Why there is nothing to extract: a clause without a subject, such as ``is a damaged ZIP archive``."""

    reason: str
