"""The assumptions of the take-off: densities by words in a material's name, and storey heights."""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from linkspan.kernel.errors import UserMistake
from linkspan.reference.problems import faults_of

_WORDS = re.compile(r"[^\W_]+")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Density(_Part):
    """``density`` in kg/m3; one of ``words`` fits when all its words are in a material's name."""

    name: str
    words: tuple[str, ...] = Field(min_length=1)
    density: float = Field(gt=0, le=25_000)
    source: str

    def fits(self, name: frozenset[str]) -> bool:
        return any(name.issuperset(phrase.lower().split()) for phrase in self.words)


class Storeys(_Part):
    """Metres."""

    minimum_clear_height: float = Field(gt=0)
    clear_height_source: str
    floor_build_up: float = Field(ge=0)
    floor_build_up_source: str


class Assumptions(_Part):
    name: str
    storeys: Storeys
    densities: tuple[Density, ...]

    def density(self, material: str) -> Density | None:
        """The first entry that fits the name of a material; None where none does."""
        words = frozenset(_WORDS.findall(material.lower()))
        return next((entry for entry in self.densities if entry.fits(words)), None)


def read_assumptions(path: Path) -> Assumptions:
    """Raises UserMistake, naming the field, where the file is not of the right form."""
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserMistake(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserMistake(f"{path}: is not TOML: {error}") from error
    except ValidationError as error:
        fault = faults_of(error)[0]
        raise UserMistake(f"{path}: {fault.field}: {fault.error}") from error


@lru_cache(maxsize=1)
def packaged_assumptions() -> Assumptions:
    return _parsed(files(__package__).joinpath("assumptions.toml").read_text(encoding="utf-8"))


def _parsed(text: str) -> Assumptions:
    return Assumptions.model_validate(tomllib.loads(text))
