"""Static tokens: a file of names, roles and hashes. The tokens themselves stand nowhere."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from linkspan.control.auth.refused import EXPIRED
from linkspan.control.errors import NotKnown
from linkspan.control.identity import Identity
from linkspan.control.roles import ROLES
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.watched import Watched

_HASH = re.compile(r"[0-9a-f]{64}")


def _known_role(role: str) -> str:
    if role not in ROLES:
        raise ValueError(f"there is no role {role!r}; there are {', '.join(ROLES)}")
    return role


def _hash(text: str) -> str:
    if not _HASH.fullmatch(text.lower()):
        raise ValueError("expected the SHA-256 of the token, 64 hexadecimal digits")
    return text.lower()


Role = Annotated[str, AfterValidator(_known_role)]


class _Token(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    role: Role
    sha256: Annotated[str, AfterValidator(_hash)]
    expires: AwareDatetime | None = None


_TOKENS = TypeAdapter(list[_Token])


def first_fault(error: ValidationError) -> str:
    """As one line: where, and what."""
    found = error.errors()[0]
    where = ".".join(str(part) for part in found["loc"])
    return f"{where or 'it'}: {found['msg'].removeprefix('Value error, ')}"


def _parse(text: str) -> list[_Token]:
    said = yaml.safe_load(text) or []
    if not isinstance(said, list):
        raise UserMistake("expected a list of {name, role, sha256, expires}")
    try:
        return _TOKENS.validate_python([_timed(one) for one in said])
    except ValidationError as error:
        raise UserMistake(first_fault(error)) from error


def _timed(entry: Any) -> Any:
    """YAML reads a day as a date, and a time without zone as one: both are UTC."""
    expires = entry.get("expires") if isinstance(entry, dict) else None
    if isinstance(expires, datetime):
        return entry | {"expires": expires if expires.tzinfo else expires.replace(tzinfo=UTC)}
    if isinstance(expires, date):
        return entry | {"expires": datetime(expires.year, expires.month, expires.day, tzinfo=UTC)}
    return entry


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class Tokens:
    """Raises UserMistake where the file cannot be used; it is read again whenever it changes."""

    def __init__(self, path: Path) -> None:
        self._file = Watched(path, _parse)

    def identify(self, token: str) -> Identity | None:
        """None where it is none of them. Raises NotKnown for one that has expired."""
        given, found = hash_of(token), None
        for one in self._file.content:
            if hmac.compare_digest(one.sha256, given):
                found = one
        if found is None:
            return None
        if found.expires is not None and found.expires <= datetime.now(UTC):
            raise NotKnown("EXPIRED_TOKEN", EXPIRED)
        return Identity(found.name, found.role)
