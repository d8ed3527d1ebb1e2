"""Paths such as ``/v1/plans/{planId}``, filled from a message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from linkspan.kernel.errors import Rejected

_NAME = re.compile(r"\{([^{}]+)\}")


class PathTemplate:
    """Values are quoted whole, so none can leave its segment."""

    def __init__(self, template: str) -> None:
        self.template = template
        self._plain = not _NAME.search(template)

    def fill(self, values: Mapping[str, Any]) -> str:
        """Raises Rejected that names the field which is missing or cannot be a segment."""
        return self.template if self._plain else _NAME.sub(lambda found: _segment(found[1], values), self.template)


def _segment(name: str, values: Mapping[str, Any]) -> str:
    value = values.get(name)
    text = value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
    if text in ("", ".", ".."):
        raise Rejected(f"the path needs the field {name}, and it is {value!r}")
    return quote(text, safe="")
