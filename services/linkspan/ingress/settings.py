"""What ingress takes from its environment, beside what every process does."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from linkspan.ingress.admit.settings import IntakeSettings


class IngressSettings(IntakeSettings):
    """Seconds: ``linkspan_append_seconds`` is how long Kafka may take to acknowledge, by default longer than it needs
    to replace a lost broker (decision 0028), ``linkspan_session_seconds`` how long a replica that is gone still counts
    as the leader of a source, ``linkspan_spool_grace_seconds`` how long ingress refuses before it spools.
    ``linkspan_spool_reserve_bytes`` of the disk are left free."""

    linkspan_max_body_bytes: Annotated[int, Field(ge=1024)] = 48 * 1024 * 1024
    linkspan_append_seconds: Annotated[float, Field(gt=0, le=120)] = 20.0
    linkspan_session_seconds: Annotated[float, Field(ge=6, le=120)] = 15.0
    linkspan_spool_bytes: Annotated[int, Field(ge=64 * 1024)] = 1024**3
    linkspan_spool_reserve_bytes: Annotated[int, Field(ge=0)] = 64 * 1024**2
    linkspan_spool_grace_seconds: Annotated[float, Field(ge=0, le=600)] = 10.0
