"""Jaeger's query API: traces by tag (``/api/traces``), and each trace with its links (``/api/v3/traces``)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.kernel.config import Settings, read_settings
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.telemetry.attributes import CORRELATION_ID
from linkspan.kernel.tls.plain import check_addresses
from linkspan.kernel.tls.trusted import client_context

#: Traces of one service that are looked for, at most.
_MOST = 1_000
_LIMIT = aiohttp.ClientTimeout(total=20)
#: What Jaeger adds itself, such as warnings.
_JAEGERS = "@jaeger@"
_ERROR = {2, "2", "STATUS_CODE_ERROR"}


@dataclass(frozen=True, slots=True)
class StoredLink:
    """Hexadecimal ids, and the attributes of the link."""

    trace: str
    span: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """``began``, ``ended``: nanoseconds since 1970. ``parent``: empty for a root. ``error``: why it failed, or None."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    began: int
    ended: int
    attributes: dict[str, Any]
    links: list[StoredLink]
    error: str | None


class Jaeger:
    """``async with``. Every call raises CommandEnded where Jaeger cannot be reached."""

    def __init__(self, url: str) -> None:
        """Raises UserMistake for plain text that is not allowed."""
        settings: Settings = read_settings()
        check_addresses(settings, {"--jaeger (LINKSPAN_JAEGER)": url})
        self._url = url.rstrip("/")

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=_LIMIT, connector=aiohttp.TCPConnector(ssl=client_context()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def find(self, correlation_id: str) -> list[str]:
        """Ids of the traces that have a span with this correlation id, the oldest first."""
        began: dict[str, int] = {}
        tags = json.dumps({CORRELATION_ID: correlation_id})
        for service in (await self._get("/api/services"))["data"] or ():
            found = await self._get("/api/traces", service=service, tags=tags, limit=str(_MOST), lookback="custom")
            for trace in found["data"] or ():
                first = min(span["startTime"] for span in trace["spans"])
                began[trace["traceID"]] = min(first, began.get(trace["traceID"], first))
        return sorted(began, key=began.__getitem__)

    async def trace(self, trace_id: str) -> list[StoredSpan]:
        """Empty where it is not known."""
        found = await self._get(f"/api/v3/traces/{trace_id}")
        return list(_spans(found["result"])) if "result" in found else []

    async def _get(self, path: str, **query: str) -> Any:
        try:
            async with self._session.get(self._url + path, params=query) as answer:
                text = await answer.text()
                if answer.status not in (200, 404):
                    raise CommandEnded(f"Jaeger answered {answer.status}: {text[:200]}", ExitCode.AWAY)
                return json.loads(text)
        except aiohttp.InvalidURL as error:
            raise UserMistake(
                f"--jaeger {self._url}: this is no address; give one such as http://127.0.0.1:16686"
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            said = str(error) or type(error).__name__
            raise CommandEnded(f"no answer from Jaeger at {self._url}: {said}", ExitCode.AWAY) from error


def _spans(result: dict[str, Any]) -> Iterator[StoredSpan]:
    for resource in result["resourceSpans"]:
        service = _attributes(resource["resource"]).get("service.name", "?")
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                yield _span(service, span)


def _span(service: str, span: dict[str, Any]) -> StoredSpan:
    status = span.get("status") or {}
    return StoredSpan(
        service,
        span["name"],
        _id(span["traceId"]),
        _id(span["spanId"]),
        _id(span.get("parentSpanId") or ""),
        int(span["startTimeUnixNano"]),
        int(span["endTimeUnixNano"]),
        _attributes(span),
        [StoredLink(_id(link["traceId"]), _id(link["spanId"]), _attributes(link)) for link in span.get("links", ())],
        status.get("message", "failed") if status.get("code") in _ERROR else None,
    )


def _attributes(of: dict[str, Any]) -> dict[str, Any]:
    found = {item["key"]: _value(item["value"]) for item in of.get("attributes", ())}
    return {name: value for name, value in found.items() if not name.startswith(_JAEGERS)}


def _value(value: dict[str, Any]) -> Any:
    """The JSON form of OTLP: one member that names the type; 64-bit integers are text."""
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        if kind == "arrayValue":
            return [_value(one) for one in content.get("values", ())]
        return content
    return None


def _id(text: str) -> str:
    """Hexadecimal, as OTLP has it; Jaeger gives some versions' ids as base64."""
    if len(text) in (0, 16, 32):
        return text
    return base64.b64decode(text).hex()
