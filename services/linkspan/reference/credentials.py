"""The credentials that the reference systems ask for, and those with which they send."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from pydantic import SecretStr

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.secret import secret_of


def development_default(name: str, given: str, default: str) -> str:
    """What was given, else the content of the file ``<name>_FILE``, else ``default``; with
    ``INTEGRATION_MODE=production`` nothing is defaulted."""
    if given:
        return given
    kept = secret_of(os.environ, name)
    if kept is not None:
        return kept.get_secret_value()
    if os.environ.get("INTEGRATION_MODE", "development") == "production":
        raise UserMistake(f"{name} is not set; production takes no default")
    return default


_KEY, _TOKEN = "LINKSPAN_API_KEY", "LINKSPAN_SENDER_TOKEN"


def sender_credential(environ: Mapping[str, str]) -> Callable[[], Mapping[str, str]]:
    """The header that tells ingress who sends, from ``LINKSPAN_API_KEY`` or ``LINKSPAN_SENDER_TOKEN``, or the file that
    ``<name>_FILE`` names, which is read again when it changes; empty where neither is set. Raises UserMistake."""
    key, token = secret_of(environ, _KEY), secret_of(environ, _TOKEN)
    if key is not None and token is not None:
        raise UserMistake(f"give {_KEY} or {_TOKEN}, not both")
    if key is not None:
        return _header("X-API-Key", "", key)
    return _header("Authorization", "Bearer ", token) if token is not None else dict


def _header(name: str, scheme: str, secret: SecretStr) -> Callable[[], Mapping[str, str]]:
    def made() -> Mapping[str, str]:
        value = secret.get_secret_value()
        if not value.isascii() or not value.isprintable():
            raise UserMistake(f"{name}: expected a key or token, alone on a line")
        return {name: scheme + value}

    made()
    return made
