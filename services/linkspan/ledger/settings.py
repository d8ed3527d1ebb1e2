"""What the ledger takes from its environment, beside what every process does."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from linkspan.kernel.config import Settings


class LedgerSettings(Settings):
    """``linkspan_ledger_days``: messages that are done with are removed so long after their acceptance.
    ``linkspan_session_seconds``: how long a worker that is gone keeps its partitions."""

    linkspan_ledger_days: Annotated[float, Field(gt=0)] = 90.0
    linkspan_session_seconds: Annotated[float, Field(ge=3, le=120)] = 15.0
