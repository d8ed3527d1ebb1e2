"""The forms in which a command answers."""

from __future__ import annotations

from enum import StrEnum


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"
