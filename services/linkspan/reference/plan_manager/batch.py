"""Many analyses in one request, with a result for each."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from linkspan.kernel.errors import Fault
from linkspan.kernel.telemetry.traces import valid
from linkspan.reference.plan_manager import results
from linkspan.reference.plan_manager.inbox import RESULTS, keep, payload_of, storable
from linkspan.reference.plan_manager.results import AnalysisView, Delivery
from linkspan.reference.problems import Problem, answers, faults_of, invalid

router = APIRouter(prefix="/v1", tags=["results"], responses=answers(401, 403))

_UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_ANALYSIS = re.compile(rf"/v1/plans/({_UUID})/analyses/({_UUID})")
_EXAMPLE: dict[str, Any] = {
    "messages": [
        {
            "messageId": "0197…",
            "path": "/v1/plans/0197…/analyses/0197…",
            "sequence": 41,
            "redelivery": False,
            "traceparent": "00-…",
            "body": {"header": {}, "payload": {"identifier": "TOWER-A-01"}, "metadata": {}},
        }
    ]
}


class Batch(BaseModel):
    """Items are looked at one by one, so that a bad one costs the others nothing."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    messages: Annotated[list[Any], Field(min_length=1, max_length=10_000)]


class Item(BaseModel):
    """``message_id`` is the idempotency key, ``path`` where the message would have gone alone."""

    model_config = ConfigDict(extra="ignore")

    message_id: str = Field(alias="messageId", min_length=1, max_length=200)
    path: str
    sequence: int | None = Field(None, ge=0)
    redelivery: bool = False
    correlation_id: str | None = Field(None, alias="correlationId")
    traceparent: str | None = None
    replay: str | None = Field(None, max_length=200)
    body: dict[str, Any]


@router.post("/results:batch", dependencies=[RESULTS], status_code=207, responses=answers(422))
async def put_results(batch: Batch, request: Request) -> JSONResponse:
    """Stores each message as `PUT` of its `path` would, by its own idempotency key and sequence.

    The answer has one result a message: `messageId`, the `status` that it would have got alone, and for one that was
    refused the problem. One bad message does not keep the others out. All of them are durable when this answers.
    """
    return JSONResponse({"results": await asyncio.gather(*(_result(request, said) for said in batch.messages))}, 207)


async def _result(request: Request, said: Any) -> dict[str, Any]:
    name = said.get("messageId") if isinstance(said, dict) else None
    about = {"messageId": name if isinstance(name, str) else None}
    try:
        return about | {"status": await _store(request, Item.model_validate(said))}
    except ValidationError as error:
        return about | invalid(faults_of(error)).body
    except Problem as problem:
        return about | problem.body


async def _store(request: Request, item: Item) -> int:
    """The status; raises Problem."""
    found = _ANALYSIS.fullmatch(item.path)
    if not found:
        raise Problem(404, "not-found", "Nothing is kept there.", errors=[Fault("path", f"is {item.path[:200]}")])
    delivery = Delivery(
        kind="analysis",
        plan_id=str(uuid.UUID(found[1])),
        item_id=str(uuid.UUID(found[2])),
        idempotency_key=item.message_id,
        sequence=item.sequence,
        redelivery=item.redelivery,
        correlation_id=storable(item.correlation_id) if item.correlation_id else None,
        traceparent=valid(item.traceparent),
        request_id=request.headers.get("x-request-id"),
        replay=storable(item.replay) if item.replay else None,
    )
    view = await payload_of(request, delivery, item.body, AnalysisView)
    stored = view.model_dump(mode="json")
    answer = await keep(request, delivery, lambda connection: results.store_analysis(connection, delivery, stored))
    if answer.problem:
        raise answer.problem
    return 200 if answer.repeat else 201
