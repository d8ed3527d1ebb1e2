"""The steps of a flow's transform, as the integration file says them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from linkspan.kernel.spec_parts import Name, Part, Seconds

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class LookupCache(Part):
    """What was found is kept in memory; each read makes it young again."""

    entries: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Found values that are kept; the one that was not read for longest goes first."""
    ttl: Seconds = 3600.0
    """Forgotten when it was not read for so long, such as 1h."""


class LookupSpec(Part):
    """GET by key from a system; what it answers (JSON) is put into the payload."""

    system: Name
    """A rest system of this integration."""
    path: str
    """Such as /v1/plans/{planId}; {name} stands for a field of the payload (dots lead into it) or of the header."""
    key: str
    """The field of the payload that is looked up by; one of the path's."""
    into: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
    """The payload's field that takes what was found, for the steps that follow."""
    missing: Literal["poison", "null"] = "poison"
    """What a 404 means: the message is a dead letter, or the field is null."""
    cache: LookupCache = LookupCache()
    """How much is remembered, and how long."""

    @field_validator("missing", mode="before")
    @classmethod
    def _bare_null(cls, value: object) -> object:
        """YAML reads a bare null as nothing."""
        return "null" if value is None else value

    @model_validator(mode="after")
    def _key_in_path(self) -> LookupSpec:
        if self.key not in self.names:
            raise ValueError(f"the path does not have the key: write {{{self.key}}} into it")
        return self

    @property
    def names(self) -> list[str]:
        """Fields that the path needs."""
        return _PLACEHOLDER.findall(self.path)


class StepSpec(Part):
    step: str | None = None
    """Name of an installed step (entry point group linkspan.steps)."""
    jsonata: str | None = None
    """On the payload; $header and $metadata are the rest, $value(table, x) maps, $key maps back."""
    lookup: LookupSpec | None = None
    """GET by key from a system."""

    @model_validator(mode="after")
    def _one_kind(self) -> StepSpec:
        if len(self.model_fields_set) != 1 or getattr(self, self.kind) is None:
            raise ValueError("give either step, jsonata or lookup")
        return self

    @property
    def kind(self) -> str:
        """The name of the one field that is given."""
        return next(iter(self.model_fields_set), "step")
