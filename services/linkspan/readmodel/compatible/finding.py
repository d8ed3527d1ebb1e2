"""What was found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """``stops``: with it messages would be lost, sent out of order or not be read; else it is worth knowing. ``where``:
    a schema, a topic or a field of the integration file."""

    where: str
    what: str
    stops: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"
