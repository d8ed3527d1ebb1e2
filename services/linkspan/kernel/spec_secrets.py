"""Opens the secrets of an integration file that are written ``sealed:…``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from linkspan.kernel.crypto.keyring import Keyring
from linkspan.kernel.crypto.secret_text import SEALED, open_text
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.lined_yaml import Place
from linkspan.kernel.spec_env import Filled

#: Below a system.
_SECRETS: tuple[Place, ...] = (("auth", "api_key"), ("auth", "oauth2", "client_secret"))


def open_secrets(filled: Filled, environ: Mapping[str, str]) -> None:
    """In place; what cannot be opened is a fault and counts as missing."""
    keyring: Keyring | None = None
    for place, parent, name in _sealed(filled.data):
        try:
            if keyring is None:
                keyring = Keyring(Path(_configured(environ)))
            parent[name] = open_text(_text(parent[name]), keyring)
        except UserMistake as error:
            filled.fault(place, str(error))


def _configured(environ: Mapping[str, str]) -> str:
    path = environ.get("LINKSPAN_KEYRING")
    if not path:
        raise UserMistake("it is encrypted: LINKSPAN_KEYRING must name the keyring that encrypted it")
    return path


def _text(value: Any) -> str:
    """Also of what came from a file."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value if isinstance(value, str) else ""


def _sealed(data: Any) -> Iterator[tuple[Place, dict[str | int, Any], str | int]]:
    systems = data.get("systems") if isinstance(data, dict) else None
    for system, said in systems.items() if isinstance(systems, dict) else ():
        for where in _SECRETS:
            part: Any = said
            for name in where[:-1]:
                part = part.get(name) if isinstance(part, dict) else None
            if isinstance(part, dict) and _text(part.get(where[-1])).startswith(SEALED):
                yield ("systems", system, *where), part, where[-1]
