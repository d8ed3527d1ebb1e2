"""What a reference system answers when it says no: ``application/problem+json`` (RFC 9457), with every fault named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from linkspan.kernel.errors import Fault

MEDIA_TYPE = "application/problem+json"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "examples": ["/problems/invalid"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "error": {"type": "string"}},
            },
        },
    },
}


class Problem(Exception):
    """Ends a request; ``kind`` becomes ``/problems/<kind>``."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        *,
        detail: str | None = None,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(title)
        self.status = status
        self.headers = dict(headers or {})
        self.body: dict[str, Any] = {"type": f"/problems/{kind}", "title": title, "status": status}
        if detail:
            self.body["detail"] = detail
        if errors:
            self.body["errors"] = [{"field": fault.field, "error": fault.error} for fault in errors]

    def response(self) -> JSONResponse:
        return JSONResponse(self.body, self.status, self.headers, MEDIA_TYPE)


def invalid(errors: Sequence[Fault], detail: str | None = None) -> Problem:
    return Problem(422, "invalid", "The request is not valid.", detail=detail, errors=errors)


def faults(errors: Sequence[Any], prefix: str = "") -> list[Fault]:
    """The faults in ``ValidationError.errors()``, ``field`` as a dotted path behind ``prefix``."""
    return [Fault(prefix + ".".join(str(part) for part in error["loc"]), _text(error)) for error in errors]


def faults_of(error: ValidationError, prefix: str = "") -> list[Fault]:
    return faults(error.errors(include_url=False, include_context=False), prefix)


def _text(error: Mapping[str, Any]) -> str:
    if error["type"] == "missing":
        return "required field missing"
    return str(error["msg"]).removeprefix("Value error, ")


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's ``responses`` for routes that can answer a problem with these statuses."""
    content = {MEDIA_TYPE: {"schema": SCHEMA}}
    return {status: {"description": "A problem", "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def _problem(_request: Request, problem: Problem) -> JSONResponse:
        return problem.response()

    @app.exception_handler(RequestValidationError)
    async def _validation(_request: Request, error: RequestValidationError) -> JSONResponse:
        return invalid(faults(error.errors())).response()

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        return Problem(error.status_code, "http", str(error.detail), headers=error.headers).response()

    @app.exception_handler(Exception)
    async def _unexpected(_request: Request, _error: Exception) -> JSONResponse:
        return Problem(500, "internal", "Something went wrong here; it was logged.").response()
