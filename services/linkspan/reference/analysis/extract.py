"""``PlanExtract`` as this system wants it: what it checks of a submitted plan, and what its analysis reads.

Lengths are metres, volumes m3, where the sender could convert them. Fields that the analysis does not use are let pass.
"""

from __future__ import annotations

import uuid
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True, frozen=True)


class Attributes(_Part):
    name: str | None = None
    description: str | None = None


class Relationship(_Part):
    type: str = Field(min_length=1)
    id: str = Field(min_length=1)


class Storey(_Part):
    name: str | None = None
    elevation: float | None = Field(None, allow_inf_nan=False)


class Extents(_Part):
    min: list[float] = Field(min_length=3, max_length=3)
    max: list[float] = Field(min_length=3, max_length=3)


class Measurements(_Part):
    count: int = Field(ge=0)
    lengths: int = Field(ge=0)
    max: float | None = None
    overridden: int = Field(ge=0)


class Dimensions(_Part):
    format: Literal["IFC", "DXF"]
    version: str = Field(alias="schema", min_length=1)
    length_unit: str | None = Field(None, alias="lengthUnit")
    metres_per_unit: float | None = Field(None, alias="metresPerUnit", gt=0, allow_inf_nan=False)
    unit_confidence: Literal["stated", "low", "unknown"] = Field(alias="unitConfidence")
    storeys: list[Storey] = []
    extents: Extents | None = None
    measurements: Measurements | None = None


class Material(_Part):
    name: str = Field(min_length=1)
    elements: int = Field(ge=0)
    net_volume: float | None = Field(None, alias="netVolume", ge=0, allow_inf_nan=False)
    without_volume: int = Field(0, alias="withoutVolume", ge=0)


class PlanExtract(_Part):
    id: str = Field(min_length=1)
    plan_id: uuid.UUID = Field(alias="planId")
    type: str = Field(min_length=1)
    attributes: Attributes
    relationships: list[Relationship] = []
    dimensions: Dimensions
    materials: list[Material] = []
    partial: bool = False
    reasons: list[str] = []
