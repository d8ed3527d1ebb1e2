"""Connection profiles: which control API, with which token and certificates, under a name."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.places import config_dir

_FIELDS = ("control", "token_file", "tls", "ca", "cert", "key")


@dataclass(frozen=True, slots=True)
class Profile:
    """``control``: host:port, several separated by commas; ``ca``, ``cert``, ``key``: PEM files, each implies TLS."""

    control: str
    token_file: Path | None = None
    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


@dataclass(slots=True)
class Profiles:
    """The file ``profiles.yaml``; ``current`` is used where nothing else is said."""

    path: Path
    current: str | None = None
    by_name: dict[str, Profile] = field(default_factory=dict)

    def get(self, name: str) -> Profile:
        """Raises UserMistake that names the others."""
        if name not in self.by_name:
            there = f"there are {', '.join(self.by_name)}" if self.by_name else "linkspan profile add makes one"
            raise UserMistake(f"profile {name}: {self.path} has no such profile; {there}")
        return self.by_name[name]

    def write(self) -> None:
        """Only its owner can read it; replaced as a whole."""
        import yaml

        made = {"current": self.current, "profiles": {name: written(one) for name, one in self.by_name.items()}}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            yaml.safe_dump(made, file, sort_keys=False)
        beside.replace(self.path)


def read_profiles() -> Profiles:
    """None where there is no file. Raises UserMistake that names the file and the field."""
    import yaml

    path = config_dir() / "profiles.yaml"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return Profiles(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserMistake(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or not isinstance(found.get("profiles") or {}, dict):
        raise UserMistake(f"{path}: expected current: NAME, and profiles: with a name for each")
    by_name = {str(name): _read(path, str(name), one) for name, one in (found.get("profiles") or {}).items()}
    return Profiles(path, found.get("current"), by_name)


def _read(path: Path, name: str, found: Any) -> Profile:
    where = f"{path}: profiles.{name}"
    if not isinstance(found, dict) or not isinstance(found.get("control"), str):
        raise UserMistake(f"{where}.control: say host:port of the control API")
    unknown = [key for key in found if key not in _FIELDS]
    if unknown:
        raise UserMistake(f"{where}.{unknown[0]}: no such field; there are {', '.join(_FIELDS)}")
    files = {key: Path(found[key]).expanduser() for key in ("token_file", "ca", "cert", "key") if found.get(key)}
    return Profile(found["control"], tls=bool(found.get("tls")), **files)


def written(profile: Profile) -> dict[str, str | bool]:
    """As the file has it."""
    values = ((name, getattr(profile, name)) for name in _FIELDS)
    return {name: value if isinstance(value, bool) else str(value) for name, value in values if value}


def profile_names(incomplete: str) -> list[str]:
    """For completion: none where they cannot be read."""
    try:
        return [name for name in read_profiles().by_name if name.startswith(incomplete)]
    except UserMistake:
        return []
