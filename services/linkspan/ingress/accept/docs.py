"""The FastAPI application beside the hot routes: OpenAPI with examples at ``/docs``, and the operations routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from linkspan import __version__
from linkspan.ingress.accept import problems
from linkspan.ingress.accept.openapi import SECURITY, paths, schemas
from linkspan.ingress.flows import FlowIntake
from linkspan.kernel.lifecycle import Check, add_operations
from linkspan.kernel.schemas import SchemaCatalog


def application(
    flows: Sequence[FlowIntake], catalog: SchemaCatalog, ready: Check, checks: Mapping[str, Check]
) -> FastAPI:
    app = FastAPIOffline(title="Linkspan ingress", version=__version__)
    add_operations(app, ready=ready, checks=checks)

    @app.exception_handler(HTTPException)
    async def _refused(_request: Request, error: HTTPException) -> JSONResponse:
        made = problems.problem(error.status_code, "http", str(error.detail))
        return JSONResponse(made.body(), error.status_code, error.headers, problems.MEDIA_TYPE)

    def document() -> dict[str, Any]:
        if not app.openapi_schema:
            made = get_openapi(title=app.title, version=app.version, routes=app.routes)
            made["paths"] = paths(flows, catalog) | made["paths"]
            made.setdefault("components", {}).setdefault("schemas", {}).update(schemas(flows, catalog))
            made["components"]["securitySchemes"] = SECURITY
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
    return app
