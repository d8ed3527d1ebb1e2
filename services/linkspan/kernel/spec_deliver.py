"""Delivery of many messages in one request, as a flow asks for it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from linkspan.kernel.errors import Fault
from linkspan.kernel.spec_parts import Part, Seconds


class Batch(Part):
    """Messages of different keys leave in one request; its answer has a result for each."""

    size: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Messages of one request at most. BATCH_SIZE wins."""
    wait: Annotated[Seconds, Field(le=60)] = 1.0
    """How long the first message of a batch waits for others."""
    path: Annotated[str, Field(pattern=r"^/[^{}]*$")] | None = None
    """Where batches go, such as /v1/results:batch; without it, the path of deliver, which then names no field."""


def batch_fault(field: str, batch: Batch, path: str, kind: str) -> Fault | None:
    """``field``: of the batch; ``path``: its deliver's; ``kind``: of the receiving system."""
    if kind != "rest":
        error = f"only a rest system takes batches, and this is a {kind} system: its frames wait for no answer anyway"
        return Fault(field, error)
    if batch.path is None and "{" in path:
        return Fault(f"{field}.path", f"say where batches go: {path} names fields of one message")
    return None
