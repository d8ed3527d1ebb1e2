"""What says who may send messages, and how much."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from linkspan.control.auth.jwt import ALGORITHMS
from linkspan.kernel.config import Settings


class Intake(StrEnum):
    """``OPEN``: for everybody, until a key was issued or ``linkspan_intake_jwks`` is set; never in production."""

    OPEN = "open"
    IDENTIFIED = "identified"


def _known_algorithms(text: str) -> str:
    unknown = [name for name in algorithms(text) if name not in ALGORITHMS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not possible; possible are {', '.join(ALGORITHMS)}")
    return text


def algorithms(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


class IntakeSettings(Settings):
    """``linkspan_intake_jwks``: a file, or an https address; issuer and audience go with it.

    ``linkspan_intake_rate``: messages a second of a client that its key says nothing of, 0: no limit;
    ``linkspan_intake_refusals``: of credentials a minute, of an address, before it is asked to wait. A head must be
    there after ``linkspan_intake_head_seconds``, a body after ``linkspan_intake_body_seconds`` and what it takes at
    ``linkspan_intake_bytes_per_second``.
    """

    linkspan_intake: Intake = Intake.OPEN
    linkspan_intake_jwks: str | None = None
    linkspan_intake_jwt_issuer: str | None = None
    linkspan_intake_jwt_audience: str | None = None
    linkspan_intake_jwt_scope_claim: Annotated[str, Field(min_length=1)] = "scope"
    linkspan_intake_jwt_algorithms: Annotated[str, AfterValidator(_known_algorithms)] = ",".join(ALGORITHMS)
    linkspan_intake_jwt_leeway_seconds: Annotated[int, Field(ge=0, le=300)] = 30
    linkspan_intake_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    linkspan_intake_burst: Annotated[int, Field(ge=0)] = 0
    linkspan_intake_refusals: Annotated[int, Field(ge=1)] = 300
    linkspan_intake_head_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0
    linkspan_intake_body_seconds: Annotated[float, Field(gt=0, le=3600)] = 20.0
    linkspan_intake_bytes_per_second: Annotated[int, Field(ge=1)] = 16 * 1024
    linkspan_intake_connections: Annotated[int, Field(ge=1)] = 4096
    linkspan_intake_connections_per_address: Annotated[int, Field(ge=1)] = 1024
