"""The plan manager's REST API: plans, the change feed, the results store."""

from __future__ import annotations

import mimetypes
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response, Security
from fastapi.responses import JSONResponse
from opentelemetry.trace import SpanKind
from pydantic import BaseModel, ConfigDict, Field

from linkspan.kernel.errors import Fault
from linkspan.kernel.telemetry import attributes as of
from linkspan.kernel.telemetry.traces import Tracing, valid
from linkspan.reference.plan_manager import plans, uploads
from linkspan.reference.plan_manager.oauth import bearer
from linkspan.reference.plan_manager.uploads import Upload
from linkspan.reference.plan_manager.webhook import Webhook
from linkspan.reference.problems import Problem, answers, invalid
from linkspan.reference.store import LARGEST, Store

router = APIRouter(prefix="/v1", tags=["plans"], responses=answers(401, 403))

READ = Security(bearer, scopes=["plans.read"])
WRITE = Security(bearer, scopes=["plans.write"])

_ROUTE = "/v1/plans/{plan_id}"

#: The media types of plans, which no standard table knows.
MEDIA_TYPES = {
    ".ifc": "application/x-step",
    ".ifcxml": "application/xml",
    ".gbxml": "application/xml",
    ".dxf": "image/vnd.dxf",
    ".dwg": "image/vnd.dwg",
}
#: What clients send when they were told nothing; says nothing of the file.
UNTOLD = {"", "application/x-www-form-urlencoded", "application/octet-stream"}

_BODY = {
    "requestBody": {
        "required": True,
        "description": "The file itself.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class UploadQuery(BaseModel):
    """What the uploader says of the file."""

    model_config = ConfigDict(extra="forbid")

    identifier: str = Field(min_length=1, max_length=200, examples=["TOWER-A-01"], description="The plan's number.")
    title: str = Field(min_length=1, max_length=500, examples=["Tower A, ground floor"])
    category: str = Field(min_length=1, max_length=100, examples=["residential"])
    file_name: str = Field(alias="fileName", min_length=1, max_length=300, examples=["tower-a.ifc"])
    summary: str | None = Field(None, max_length=5000)
    relationship: list[str] = Field([], description="`kind:planId`, as often as there are relationships.")
    priority: Literal["low", "normal", "high", "critical"] = "normal"
    ttl: int | None = Field(None, gt=0, description="Seconds after which the message is worth nothing.")


@router.put("/plans/{plan_id}", dependencies=[WRITE], openapi_extra=_BODY, responses=answers(413, 422))
async def upload_plan(
    plan_id: uuid.UUID,
    request: Request,
    said: Annotated[UploadQuery, Query()],
    correlation: Annotated[uuid.UUID | None, Header(alias="X-Correlation-ID")] = None,
    traceparent: Annotated[str | None, Header()] = None,
) -> JSONResponse:
    """Stores a file as the plan's next revision; the webhook to Linkspan is in the same transaction.

    `curl -X PUT --data-binary @tower.ifc -H "Authorization: Bearer $TOKEN"
    "$A/v1/plans/$ID?identifier=T-1&title=Tower&category=residential&fileName=tower.ifc"`
    """
    content = await _content(request)
    metadata = _metadata(said, request.headers.get("content-type", ""))
    tracing: Tracing = request.app.state.tracing
    correlation_id = str(correlation) if correlation else None
    facts = {of.STEP: "upload", of.METHOD: "PUT", of.ROUTE: _ROUTE, of.PATH: request.url.path, of.SCHEME: "http"}
    with tracing.span(f"PUT {_ROUTE}", valid(traceparent), SpanKind.SERVER, facts) as traced:
        upload = Upload(str(plan_id), metadata, content, correlation_id, traced.traceparent, said.priority, said.ttl)
        stored = await _store(request).write(lambda connection: uploads.add(connection, upload))
        traced.belongs_to(stored["correlation_id"])
        traced.answered(201 if stored["revision"] == 1 else 200)
    webhook: Webhook = request.app.state.webhook
    webhook.add(str(plan_id), stored["change"])
    whole = await _store(request).read(lambda connection: plans.plan(connection, str(plan_id)))
    headers = {"Location": f"/v1/plans/{plan_id}", "X-Correlation-ID": stored["correlation_id"]}
    return JSONResponse(whole, 201 if stored["revision"] == 1 else 200, headers)


@router.get("/plans", dependencies=[READ])
async def list_plans(
    request: Request, after: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> dict[str, Any]:
    """Plans in order of plan id; `next` is the `after` of the following page."""
    items = await _store(request).read(lambda connection: plans.plans(connection, after, limit))
    return {"items": items, "next": items[-1]["planId"] if items else after}


@router.get("/plans/{plan_id}", dependencies=[READ], responses=answers(404))
async def get_plan(plan_id: uuid.UUID, request: Request) -> dict[str, Any]:
    """The plan, its state (uploaded, accepted, analysed, refused), every revision and what came back."""
    found = await _store(request).read(lambda connection: plans.plan(connection, str(plan_id)))
    if found is None:
        raise Problem(404, "not-found", f"There is no plan {plan_id}.")
    return found


@router.get("/plans/{plan_id}/content", dependencies=[READ], responses=answers(404))
async def get_content(
    plan_id: uuid.UUID, request: Request, revision: Annotated[int | None, Query(ge=1)] = None
) -> Response:
    """The file as it was uploaded; the newest revision unless another is named."""
    found = await _store(request).read(lambda connection: uploads.revisions(connection, str(plan_id)))
    chosen = next((row for row in found if revision in {None, row["revision"]}), None)
    if chosen is None:
        raise Problem(404, "not-found", f"There is no such revision of plan {plan_id}.")
    content = await _store(request).read(lambda connection: uploads.content(connection, chosen["digest"]))
    return Response(content, media_type=chosen["metadata"]["mediaType"], headers={"Content-Disposition": "attachment"})


@router.get("/changes", dependencies=[READ])
async def changes(
    request: Request,
    after: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    content: Annotated[bool, Query(description="With the files, base64, in each payload.")] = False,
) -> dict[str, Any]:
    """Each upload in order; `next` is the cursor to ask `after` with, and stays when there is nothing new."""
    items = await _store(request).read(lambda connection: uploads.changes(connection, after, limit, content))
    return {"items": items, "next": items[-1]["change"] if items else after}


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


async def _content(request: Request) -> bytes:
    limit: int = request.app.state.max_upload_bytes
    too_large = Problem(413, "too-large", f"A file has at most {limit} bytes here.")
    if int(request.headers.get("content-length") or 0) > limit:
        raise too_large
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            raise too_large
    if not content:
        raise invalid([Fault("body", "the file is empty; send it with --data-binary")])
    return bytes(content)


def _metadata(said: UploadQuery, content_type: str) -> dict[str, Any]:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in UNTOLD:
        suffix = "." + said.file_name.rpartition(".")[2].lower()
        media_type = MEDIA_TYPES.get(suffix) or mimetypes.guess_type(said.file_name)[0] or "application/octet-stream"
    return {
        "identifier": said.identifier,
        "title": said.title,
        "summary": said.summary,
        "category": said.category,
        "fileName": said.file_name,
        "mediaType": media_type,
        "relationships": [_relationship(index, text) for index, text in enumerate(said.relationship)],
    }


def _relationship(index: int, text: str) -> dict[str, str]:
    kind, _, plan_id = text.rpartition(":")
    try:
        return {"kind": kind or _no_kind(), "planId": str(uuid.UUID(plan_id))}
    except ValueError as error:
        raise invalid([Fault(f"query.relationship.{index}", "write kind:planId, planId a UUID")]) from error


def _no_kind() -> str:
    raise ValueError
