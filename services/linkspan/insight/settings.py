"""What insight takes from its environment, beside what every process does."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from linkspan.kernel.config import Settings

DAY = 86_400


class InsightSettings(Settings):
    """Seconds. ``linkspan_session_seconds``: how long a worker that is gone keeps its partitions;
    ``linkspan_stall_seconds``: a partition whose lag grows while nothing commits for so long ends the process.

    ``linkspan_insight_keep_seconds``: how long an answered conversation, or an answer without its request, is kept in
    the table; ``linkspan_insight_overdue_seconds``: how long one that is overdue waits for its late answer.
    """

    linkspan_session_seconds: Annotated[float, Field(ge=3, le=120)] = 15.0
    linkspan_stall_seconds: Annotated[float, Field(ge=30)] = 120.0
    linkspan_insight_keep_seconds: Annotated[float, Field(gt=0)] = 3_600.0
    linkspan_insight_overdue_seconds: Annotated[float, Field(gt=0)] = 7.0 * DAY
