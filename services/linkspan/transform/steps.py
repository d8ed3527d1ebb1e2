"""Finds the named Python steps that are installed: entry points of the group ``linkspan.steps``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.steps import GROUP, Step


@dataclass(frozen=True, slots=True)
class NamedStep:
    """``version`` says which code it is: entry point, and version of the distribution that brings it."""

    name: str
    version: str
    run: Step


def installed() -> list[str]:
    return sorted(point.name for point in entry_points(group=GROUP))


def named_step(name: str) -> NamedStep:
    """Raises UserMistake that lists the installed ones, or says what keeps the step from loading."""
    point = next(iter(entry_points(group=GROUP, name=name)), None)
    if point is None:
        raise UserMistake(f"no step {name!r} is installed; there are {', '.join(installed()) or 'none'}")
    try:
        run = point.load()
    except (ImportError, AttributeError) as error:
        raise UserMistake(f"the step {name} cannot be loaded: {error}{_remedy(point)}") from error
    return NamedStep(name, f"{point.value}@{point.dist.version if point.dist else ''}", run)


def _remedy(point: EntryPoint) -> str:
    return "; install linkspan[plans]" if point.value.startswith("linkspan.reference.plans") else ""
