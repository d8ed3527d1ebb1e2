"""The transform step ``extract_plan``: what a plan file states, in place of the file."""

from __future__ import annotations

from typing import Any

import msgspec

from linkspan.kernel.errors import Poison
from linkspan.kernel.steps import StepContext
from linkspan.reference.plans.confine import extract_confined
from linkspan.reference.plans.limits import Limits
from linkspan.reference.plans.recognise import NotAPlan, recognise, shown


async def extract_plan(payload: dict[str, Any], context: StepContext) -> dict[str, Any]:
    """``PlanUploaded`` without ``content``, with ``dimensions``, ``materials``, ``partial`` and ``reasons``.

    Their shape is ``shape.Extract``, in plain JSON data. Raises Poison for a file that is no IFC or DXF, cannot be
    read, or would cost more than ``Limits``; Unavailable where the reading process cannot be started at all.
    """
    content = await context.content(_content(payload))
    metadata = payload.get("metadata")
    file_name = str((metadata if isinstance(metadata, dict) else {}).get("fileName") or "")
    try:
        recognised = recognise(content, file_name)
    except NotAPlan as error:
        raise Poison(str(error)) from error
    extract = await extract_confined(content, recognised.format, shown(file_name), Limits.from_environment())
    remarks = [recognised.remark] if recognised.remark else []
    kept = {name: value for name, value in payload.items() if name != "content"}
    return kept | {
        "dimensions": msgspec.to_builtins(extract.dimensions),
        "materials": msgspec.to_builtins(extract.materials),
        "partial": extract.partial,
        "reasons": remarks + extract.reasons,
    }


def _content(payload: dict[str, Any]) -> bytes | dict[str, Any]:
    content = payload.get("content")
    if isinstance(content, bytes):
        return content
    if isinstance(content, dict) and {"address", "digest"} <= content.keys():
        return content
    raise Poison(f"payload.content is {type(content).__name__}: it must be the file's bytes or a blob reference")
