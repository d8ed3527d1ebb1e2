"""Client certificates: which role a name on one has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from linkspan.control.auth.tokens import Role, first_fault
from linkspan.control.identity import Identity
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.watched import Watched

_ROLES = TypeAdapter(dict[str, Role])
_NAMES = ("x509_common_name", "x509_subject_alternative_name")


def _parse(text: str) -> dict[str, str]:
    try:
        return _ROLES.validate_python(yaml.safe_load(text) or {})
    except ValidationError as error:
        raise UserMistake(first_fault(error)) from error


class Certificates:
    """``path``: YAML, common name or alternative name -> role. Raises UserMistake where it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._file = Watched(path, _parse)

    def identify(self, connection: Mapping[str, Iterable[bytes]]) -> Identity | None:
        """By what gRPC says of the connection; None where it has no certificate with a role."""
        roles = self._file.content
        for kind in _NAMES:
            for name in connection.get(kind, ()):
                role = roles.get(name.decode("utf-8", "replace"))
                if role is not None:
                    return Identity(name.decode("utf-8", "replace"), role)
        return None
