"""What a named transform step is: an async function from payload to payload.

Steps are found by the entry point group ``linkspan.steps``. A payload is plain JSON data, but for content:
``bytes``, or a blob reference (see ``kernel.blobs``) where it was large; ``StepContext.content`` reads both.
A step refuses a message by raising ``kernel.errors.Poison`` with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from linkspan.kernel.blobs import BlobMissing, BlobStore
from linkspan.kernel.errors import Poison

GROUP = "linkspan.steps"


@dataclass(frozen=True, slots=True)
class StepContext:
    """``header`` and ``metadata`` are the message's, in their JSON form."""

    flow: str
    header: Mapping[str, Any]
    metadata: Mapping[str, Any]
    blobs: BlobStore

    async def content(self, value: bytes | Mapping[str, Any]) -> bytes:
        if isinstance(value, bytes):
            return value
        try:
            return await self.blobs.get(dict(value))
        except BlobMissing as error:
            raise Poison(str(error)) from error


class Step(Protocol):
    async def __call__(self, payload: dict[str, Any], context: StepContext) -> dict[str, Any]: ...
