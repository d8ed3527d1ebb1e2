"""An integration as it was when a transform had a text that was kept."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import ValidationError

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_transform import LookupSpec, StepSpec
from linkspan.transform.steps import named_step


class NotAsThen(UserMistake):
    """A transform of then cannot run here; the text says what is missing."""


class _Text(msgspec.Struct):
    steps: list[dict[str, Any]]
    values: dict[str, dict[str, str]]


def as_then(integration: Integration, flow: str, text: str) -> Integration:
    """With the flow's steps and the value tables of ``text`` (``Transform.text``). Raises NotAsThen."""
    try:
        said = msgspec.json.decode(text, type=_Text)
        steps = [_step(one, integration, number) for number, one in enumerate(said.steps)]
    except (msgspec.MsgspecError, ValidationError, UnicodeDecodeError) as error:
        raise NotAsThen(f"the text of the transform of then cannot be read: {error}") from error
    flows = integration.flows | {flow: integration.flows[flow].model_copy(update={"transform": tuple(steps)})}
    return integration.model_copy(update={"flows": flows, "values": said.values})


def _step(said: dict[str, Any], integration: Integration, number: int) -> StepSpec:
    """A named step is code: only the version that ran then gives what it gave then."""
    if "step" in said:
        name, version = str(said["step"]), str(said.get("version", ""))
        try:
            installed = named_step(name).version
        except UserMistake as error:
            raise NotAsThen(f"step {number} of the transform of then: {error}") from error
        if installed != version:
            raise NotAsThen(f"step {number} of the transform of then is {name} {version}; installed is {installed}")
        return StepSpec(step=name)
    if "lookup" in said:
        lookup = LookupSpec.model_validate(said["lookup"])
        if lookup.system not in integration.systems:
            there = ", ".join(integration.systems)
            raise NotAsThen(f"step {number} of the transform of then asks {lookup.system}; there are {there}")
        return StepSpec(lookup=lookup)
    return StepSpec(jsonata=str(said.get("jsonata", "")))
