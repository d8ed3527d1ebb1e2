"""The credentials that the reference systems ask for."""

from __future__ import annotations

import os

from linkspan.kernel.errors import UserMistake


def development_default(name: str, given: str, default: str) -> str:
    """What was given, else ``default``; with ``INTEGRATION_MODE=production`` nothing is defaulted."""
    if given:
        return given
    if os.environ.get("INTEGRATION_MODE", "development") == "production":
        raise UserMistake(f"{name} is not set; production takes no default")
    return default
