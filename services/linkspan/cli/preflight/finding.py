"""What a check found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linkspan.cli.preflight.target import Target


@dataclass(frozen=True, slots=True)
class Finding:
    """``about``: a variable, an address, a topic. ``fault``: empty where it is as it should be; then ``said`` may tell
    what was seen. ``mend``: what to do."""

    about: str
    fault: str = ""
    mend: str = ""
    said: str = ""


Check = Callable[["Target"], AsyncIterator[Finding]]
