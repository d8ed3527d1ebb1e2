"""What reading one plan may cost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from linkspan.kernel.errors import UserMistake

_ENVIRONMENT = {
    "memory_mb": "LINKSPAN_PLANS_MEMORY_MB",
    "cpu_seconds": "LINKSPAN_PLANS_CPU_SECONDS",
    "seconds": "LINKSPAN_PLANS_SECONDS",
}
_SEAL = "LINKSPAN_PLANS_SEAL"


@dataclass(frozen=True, slots=True)
class Limits:
    """Whole numbers from 1.

    ``memory_mb`` is address space (MiB): the readers alone map 230 MiB (ifcopenshell 0.9, ezdxf 1.4, measured), so
    below 300 no plan is read. ``cpu_seconds`` is processor time, ``seconds`` wall time from the process's start.
    ``inflated_mb`` bounds a decompressed ``.ifczip``, ``answer_mb`` what the process may answer, ``at_once`` how many
    processes run at the same time. ``seal_required``: no plan is read where the process cannot close network and files
    to itself (``seal``); otherwise that is said once and it is read.
    """

    memory_mb: int = 1024
    cpu_seconds: int = 60
    seconds: int = 60
    inflated_mb: int = 256
    answer_mb: int = 8
    at_once: int = 2
    seal_required: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Limits:
        """The defaults, changed by ``LINKSPAN_PLANS_*``; raises UserMistake that names a wrong variable."""
        values = os.environ if environment is None else environment
        wholes = {field: _whole(values[name], name) for field, name in _ENVIRONMENT.items() if name in values}
        return cls(**wholes, seal_required=_required(values.get(_SEAL, "")))


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**31):
        raise UserMistake(f"{name} is {text!r}: write a whole number from 1")
    return int(text)


def _required(text: str) -> bool:
    if text not in ("", "required"):
        raise UserMistake(f"{_SEAL} is {text!r}: write required, or leave it out")
    return text == "required"
