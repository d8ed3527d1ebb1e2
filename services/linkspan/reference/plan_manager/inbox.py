"""What Linkspan delivers to the plan manager: analyses and refusal notices, and the record of everything received."""

from __future__ import annotations

import json
import uuid
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from fastapi import APIRouter, Query, Request, Security
from fastapi.responses import JSONResponse
from opentelemetry.trace import SpanKind
from prometheus_client import Counter
from pydantic import BaseModel, ValidationError

from linkspan.kernel.errors import Fault
from linkspan.kernel.telemetry import attributes as of
from linkspan.kernel.telemetry.traces import Tracing, valid
from linkspan.reference.plan_manager import results
from linkspan.reference.plan_manager.oauth import bearer
from linkspan.reference.plan_manager.results import AnalysisView, Answer, Delivery, Refusal
from linkspan.reference.problems import Problem, answers, faults_of, invalid
from linkspan.reference.store import LARGEST, Store, Work

M = TypeVar("M", bound=BaseModel)

router = APIRouter(prefix="/v1", tags=["results"], responses=answers(401, 403))
RESULTS = Security(bearer, scopes=["results.write"])
READ = Security(bearer, scopes=["plans.read"])

#: Where each kind is kept, below its plan.
_STORED = {"analysis": "analyses/{analysis_id}", "refusal": "refusals/{message_id}"}

RECEIVED = Counter("plan_manager_received_total", "Deliveries to the results store.", ["kind", "result"])


def _operation(payload: dict[str, Any]) -> dict[str, Any]:
    header = {"messageId": "0197…", "timestamp": "2026-01-15T10:00:00Z", "source": "analysis", "messageType": "event"}
    example = {"header": header, "payload": payload, "metadata": {"correlationId": "0197…", "priority": "normal"}}
    content = {"application/json": {"schema": {"type": "object", "required": ["payload"]}, "example": example}}
    names = {
        "Idempotency-Key": "string",
        "Linkspan-Sequence": "integer",
        "Linkspan-Redelivery": "string",
        "Linkspan-Replay": "string",
    }
    return {
        "requestBody": {"required": True, "content": content},
        "parameters": [{"name": name, "in": "header", "schema": {"type": kind}} for name, kind in names.items()],
    }


_ANALYSIS = _operation(
    {
        "identifier": "TOWER-A-01",
        "category": "residential",
        "title": "Tower A, ground floor",
        "summary": None,
        "verdict": "complete",
        "figures": [{"label": "Mass, concrete", "value": 16093.75, "unit": "kg"}],
        "recommendations": [{"code": "storey-low", "severity": "warning", "text": "Storey 01 is 2.20 m high."}],
    }
)
_REFUSAL = _operation(
    {"planId": "0197…", "messageId": "0197…", "class": "poison", "reason": "a PDF cannot be read as a plan"}
)


@router.put(
    "/plans/{plan_id}/analyses/{analysis_id}",
    dependencies=[RESULTS],
    openapi_extra=_ANALYSIS,
    responses=answers(409, 422),
)
async def put_analysis(plan_id: uuid.UUID, analysis_id: uuid.UUID, request: Request) -> JSONResponse:
    """Stores an analysis. 201 when it is new, 200 and `Idempotency-Replayed: true` for the same again.

    The same `Idempotency-Key` with other content is refused (422), and so is a `Linkspan-Sequence` older than the
    stored one of this plan (409, `/problems/older-sequence`). The plan need not have been uploaded here. A replay
    (`Linkspan-Replay`) is treated as any other: what was lost here is stored anew, what is here is a repeat.
    """
    message = _parsed(await request.body())
    delivery = _delivery("analysis", (plan_id, analysis_id), request, message)
    view = await payload_of(request, delivery, message, AnalysisView)
    stored = view.model_dump(mode="json")
    answer = await keep(request, delivery, lambda connection: results.store_analysis(connection, delivery, stored))
    body = {"planId": delivery.plan_id, "analysisId": delivery.item_id, "storedAt": answer.stored_at}
    return _answered(answer, {**body, "sequence": delivery.sequence})


@router.put(
    "/plans/{plan_id}/refusals/{message_id}",
    dependencies=[RESULTS],
    openapi_extra=_REFUSAL,
    responses=answers(422),
)
async def put_refusal(plan_id: uuid.UUID, message_id: uuid.UUID, request: Request) -> JSONResponse:
    """Keeps why a message of this plan could not be handled; the plan's page shows it."""
    message = _parsed(await request.body())
    delivery = _delivery("refusal", (plan_id, message_id), request, message)
    notice = await payload_of(request, delivery, message, Refusal)
    said = {"planId": (notice.plan_id, plan_id), "messageId": (notice.message_id, message_id)}
    wrong = [
        Fault(f"payload.{name}", f"is {inside}, the path says {outside}")
        for name, (inside, outside) in said.items()
        if inside != outside
    ]
    if wrong:
        await _refuse(request, delivery, invalid(wrong))
    answer = await keep(
        request,
        delivery,
        lambda connection: results.store_refusal(connection, delivery, notice.failure, notice.reason),
    )
    body = {"planId": delivery.plan_id, "messageId": delivery.item_id, "storedAt": answer.stored_at}
    return _answered(answer, body)


@router.get("/received", dependencies=[READ])
async def received(
    request: Request,
    after: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> dict[str, Any]:
    """Everything delivered to the results store, in order of arrival, with what became of it."""
    store: Store = request.app.state.store
    items = await store.read(lambda connection: results.received(connection, after, limit))
    return {"items": items, "next": items[-1]["n"] if items else after}


def _parsed(body: bytes) -> dict[str, Any] | str:
    """The message, or what is wrong with it."""
    try:
        message = json.loads(body)
    except ValueError as error:
        return f"is not JSON: {error}"
    return message if isinstance(message, dict) else "must be a message: header, payload and metadata"


def _delivery(
    kind: Literal["analysis", "refusal"],
    ids: tuple[uuid.UUID, uuid.UUID],
    request: Request,
    message: dict[str, Any] | str,
) -> Delivery:
    headers = request.headers
    sequence = headers.get("linkspan-sequence")
    if sequence is not None and not (sequence.isascii() and sequence.isdigit() and len(sequence) < 19):
        raise invalid([Fault("header.Linkspan-Sequence", "must be a whole number")])
    metadata = message.get("metadata") if isinstance(message, dict) else None
    carried = metadata.get("correlationId") if isinstance(metadata, dict) else None
    return Delivery(
        kind=kind,
        plan_id=str(ids[0]),
        item_id=str(ids[1]),
        idempotency_key=headers.get("idempotency-key") or f"{ids[0]}/{ids[1]}",
        sequence=None if sequence is None else int(sequence),
        redelivery=headers.get("linkspan-redelivery", "").lower() == "possible",
        correlation_id=storable(carried) if isinstance(carried, str) else headers.get("x-correlation-id"),
        traceparent=valid(headers.get("traceparent")),
        request_id=headers.get("x-request-id"),
        replay=headers.get("linkspan-replay"),
    )


def storable(text: str) -> str:
    """JSON can spell halves of characters, which no database takes."""
    return text[:200].encode("utf-8", "replace").decode()


async def payload_of(request: Request, delivery: Delivery, message: dict[str, Any] | str, model: type[M]) -> M:
    if isinstance(message, str):
        await _refuse(request, delivery, invalid([Fault("body", message)]))
    try:
        return model.model_validate(message.get("payload"))
    except ValidationError as error:
        await _refuse(request, delivery, invalid(faults_of(error, "payload.")))


async def keep(request: Request, delivery: Delivery, work: Work[Answer]) -> Answer:
    tracing: Tracing = request.app.state.tracing
    store: Store = request.app.state.store
    path = request.url.path
    route = f"/v1/plans/{{plan_id}}/{_STORED[delivery.kind]}" if request.method == "PUT" else path
    facts = {
        of.STEP: "store",
        of.METHOD: request.method,
        of.ROUTE: route,
        of.PATH: path,
        of.SCHEME: "http",
        of.CORRELATION_ID: delivery.correlation_id or "",
        of.MESSAGE_ID: delivery.idempotency_key,
    }
    with tracing.span(f"{request.method} {route}", delivery.traceparent, SpanKind.SERVER, facts) as traced:
        answer = await store.write(work)
        traced.answered(answer.problem.status if answer.problem else 200 if answer.repeat else 201)
    result = "refused" if answer.problem else "repeat" if answer.repeat else "stored"
    RECEIVED.labels(delivery.kind, result).inc()
    return answer


async def _refuse(request: Request, delivery: Delivery, problem: Problem) -> NoReturn:
    await keep(request, delivery, lambda connection: results.refuse(connection, delivery, problem))
    raise problem


def _answered(answer: Answer, body: dict[str, Any]) -> JSONResponse:
    if answer.problem:
        raise answer.problem
    if answer.repeat:
        return JSONResponse(body, 200, {"Idempotency-Replayed": "true"})
    return JSONResponse(body, 201)
