"""What OpenAPI says of the hot routes: made from the Avro schemas, as the checks are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from linkspan.ingress.flows import FlowIntake
from linkspan.kernel.faults import is_blob_reference
from linkspan.kernel.message import OPTIONAL_HEADER, OPTIONAL_METADATA
from linkspan.kernel.schemas import COMMON, Schema, SchemaCatalog

Json = dict[str, Any]

_ID = "0198c0de-0000-7000-8000-000000000001"
_SIMPLE: dict[str, tuple[Json, Any]] = {
    "null": ({"type": "null"}, None),
    "boolean": ({"type": "boolean"}, True),
    "int": ({"type": "integer", "format": "int32"}, 1),
    "long": ({"type": "integer", "format": "int64"}, 1),
    "float": ({"type": "number"}, 1.5),
    "double": ({"type": "number"}, 1.5),
    "string": ({"type": "string"}, "text"),
    "bytes": ({"type": "string", "contentEncoding": "base64"}, "SUZD"),
    "uuid": ({"type": "string", "format": "uuid"}, _ID),
    "timestamp-micros": ({"type": "string", "format": "date-time"}, "2026-01-31T08:00:00Z"),
}
_REFERENCES = {
    "Accepted": {
        "type": "object",
        "properties": {
            "messageId": {"type": "string", "format": "uuid"},
            "correlationId": {"type": "string", "format": "uuid"},
            "queued": {
                "type": "boolean",
                "description": "Kafka has the event, or the spool (on disk).",
            },
            "duplicate": {"type": "boolean", "description": "The same message was accepted a moment ago."},
            "willRetry": {"type": "boolean", "description": "Not delivered within the time waited for."},
        },
    },
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status"],
        "properties": {
            "type": {"type": "string"},
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
    },
}


def schemas(flows: Sequence[FlowIntake], catalog: SchemaCatalog) -> Json:
    header = _json_schema(catalog.latest(COMMON, "Header").definition, OPTIONAL_HEADER)
    metadata = _json_schema(catalog.latest(COMMON, "Metadata").definition, OPTIONAL_METADATA)
    found: Json = {"Header": header, "Metadata": metadata, **_REFERENCES}
    for flow in flows:
        found[flow.spec.type] = {
            "type": "object",
            "required": ["header", "payload"],
            "additionalProperties": False,
            "properties": {
                "header": _ref("Header"),
                "payload": _json_schema(flow.payload),
                "metadata": _ref("Metadata"),
            },
        }
    return found


def paths(flows: Sequence[FlowIntake], catalog: SchemaCatalog) -> Json:
    """``catalog`` is taken so that both functions are called alike."""
    del catalog
    examples = {flow.spec.type: {"summary": flow.name, "value": _message(flow)} for flow in flows}
    message = {"oneOf": [_ref(flow.spec.type) for flow in flows]}
    one = {"application/json": {"schema": message, "examples": examples}}
    many = {
        "application/json": {"schema": {"type": "array", "items": message}},
        "application/x-ndjson": {"schema": {"type": "string", "description": "One message a line."}},
    }
    return {
        "/v1/messages": {"post": _operation("Send a message", one, _ANSWERS)},
        "/v1/messages:batch": {"post": _operation("Send up to 10,000 messages", many, _BATCH_ANSWERS)},
    }


def _operation(summary: str, content: Json, answers: Json) -> Json:
    return {
        "tags": ["messages"],
        "summary": summary,
        "parameters": [_header(*about) for about in _HEADERS],
        "requestBody": {"required": True, "content": content},
        "responses": answers,
        "security": [{"apiKey": []}, {"bearer": []}, {}],
    }


#: Which of them counts, and whether any is asked for, is a replica's setting.
SECURITY = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "Issued by linkspan keys issue."},
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "With a scope send:<flow>."},
}


_HEADERS = (
    ("X-Request-ID", "Echoed in the answer; made where it is absent.", "req-1"),
    ("X-Correlation-ID", "A uuid; used where the message has no metadata.correlationId.", _ID),
    ("traceparent", "W3C trace context.", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("Prefer", "wait=N: wait up to N seconds (60 at most) for what becomes of the message.", "wait=10"),
)


def _header(name: str, description: str, example: str) -> Json:
    about = {"name": name, "in": "header", "description": description, "required": False}
    return {**about, "schema": {"type": "string"}, "example": example}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(description: str, name: str = "Problem", example: Any = None) -> Json:
    media_type = "application/problem+json" if name == "Problem" else "application/json"
    content: Json = {"schema": _ref(name)}
    if example is not None:
        content["example"] = example
    return {"description": description, "content": {media_type: content}}


_FAULTY = {
    "type": "/problems/invalid",
    "title": "The message is not valid.",
    "status": 400,
    "errors": [{"field": "payload.planId", "error": "required field missing"}],
}
_ANSWERS = {
    "202": _answer("Kafka or the spool has it", "Accepted", {"messageId": _ID, "correlationId": _ID, "queued": True}),
    "200": {"description": "`Prefer: wait`: the message was delivered"},
    "400": _answer("Everything that is wrong with the message", example=_FAULTY),
    "401": _answer("It is not known who sends"),
    "403": _answer("Whoever sends may not send to this flow; `scope` says what is missing"),
    "409": _answer("The id was accepted a moment ago with another payload"),
    "413": _answer("A limit was passed"),
    "415": _answer("Not JSON"),
    "422": _answer("`Prefer: wait`: taken, but not delivered"),
    "429": _answer("More than this sender may send; `Retry-After` says when to come again"),
    "503": _answer("Kafka cannot take it now; `Retry-After` says when to send it again, with the same id"),
}
_BATCH_ANSWERS = {
    "202": {"description": "All are queued; `results` has one entry a message"},
    "207": {"description": "Some are queued"},
    "400": {"description": "None is valid"},
    "401": _ANSWERS["401"],
    "403": {"description": "None is allowed"},
    "413": _ANSWERS["413"],
    "415": _ANSWERS["415"],
    "429": _ANSWERS["429"],
    "503": {"description": "None could be queued now"},
}


def _message(flow: FlowIntake) -> Json:
    header = {"messageId": _ID, "source": flow.spec.from_, "destination": flow.spec.to, "type": flow.spec.type}
    return {"header": header, "payload": _example(flow.payload), "metadata": {"priority": "normal"}}


def _json_schema(schema: Any, optional: frozenset[str] = frozenset()) -> Json:
    if isinstance(schema, list):
        found = [_json_schema(branch) for branch in schema if not is_blob_reference(branch)]
        return found[0] if len(found) == 1 else {"anyOf": found}
    if isinstance(schema, str):
        return dict(_SIMPLE[schema][0])
    match schema["type"]:
        case "record":
            return _record(schema, optional)
        case "array":
            return {"type": "array", "items": _json_schema(schema["items"])}
        case "map":
            return {"type": "object", "additionalProperties": _json_schema(schema["values"])}
        case "enum":
            return {"enum": list(schema["symbols"])}
        case _:
            return dict(_SIMPLE[_kind(schema)][0])


def _record(schema: Schema, optional: frozenset[str]) -> Json:
    properties = {}
    for item in schema["fields"]:
        made = _json_schema(item["type"])
        properties[item["name"]] = made | ({"description": item["doc"]} if "doc" in item else {})
    required = [item["name"] for item in schema["fields"] if "default" not in item and item["name"] not in optional]
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


def _kind(schema: Schema) -> str:
    logical = schema.get("logicalType")
    return str(logical if logical in _SIMPLE else schema["type"])


def _example(schema: Any) -> Any:
    if isinstance(schema, list):
        return _example(next(branch for branch in schema if branch != "null"))
    if isinstance(schema, str):
        return _SIMPLE[schema][1]
    match schema["type"]:
        case "record":
            return {item["name"]: _example(item["type"]) for item in schema["fields"]}
        case "array":
            return [_example(schema["items"])]
        case "map":
            return {"name": _example(schema["values"])}
        case "enum":
            return schema["symbols"][0]
        case _:
            return _SIMPLE[_kind(schema)][1]
