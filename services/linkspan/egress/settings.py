"""What egress takes from its environment, beside what every process does."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from linkspan.kernel.config import Settings


class EgressSettings(Settings):
    """Seconds: ``linkspan_session_seconds`` is how long a replica that is gone keeps its partitions. A broker takes
    less than 6 only where its ``group.min.session.timeout.ms`` says so. ``linkspan_stall_seconds``: a partition that
    has something to deliver and does nothing for so long ends the process."""

    linkspan_session_seconds: Annotated[float, Field(ge=3, le=120)] = 15.0
    linkspan_stall_seconds: Annotated[float, Field(ge=30)] = 120.0
