"""What the parts of an ``integration.yaml`` are made of: names, durations, rates."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_RATE = re.compile(r"(\d+(?:\.\d+)?)/(s|m|h)")
NAME = r"^[a-z][a-z0-9-]{0,62}$"


def _seconds(value: Any) -> Any:
    if isinstance(value, str):
        if _NUMBER.fullmatch(value.strip()):
            return float(value)
        match = _DURATION.fullmatch(value.strip())
        if not match:
            raise ValueError("expected a duration such as 500ms, 30s, 15m or 1h")
        return float(match[1]) * _UNITS[match[2]]
    return value


def _per_second(value: Any) -> Any:
    if isinstance(value, str):
        if _NUMBER.fullmatch(value.strip()):
            return float(value)
        match = _RATE.fullmatch(value.strip())
        if not match:
            raise ValueError("expected a rate such as 50/s or 600/m")
        return float(match[1]) / _UNITS[match[2]]
    return value


Seconds = Annotated[float, BeforeValidator(_seconds, json_schema_input_type=str | float), Field(gt=0)]
PerSecond = Annotated[float, BeforeValidator(_per_second, json_schema_input_type=str | float), Field(gt=0)]
Name = Annotated[str, Field(pattern=NAME)]


class Part(BaseModel):
    """Anything in the file that has fields; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)
