"""Whether an integration fits its schemas: types, keys, and the fields that an address names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from linkspan.kernel.crypto.marks import marked_fields
from linkspan.kernel.errors import Fault
from linkspan.kernel.faults import is_blob_reference
from linkspan.kernel.schemas import COMMON, Schema, SchemaCatalog, UnknownSchema, expanded
from linkspan.kernel.spec import Flow, Integration

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PARTS = ("header", "payload", "metadata")


def schema_faults(integration: Integration, catalog: SchemaCatalog) -> Iterator[Fault]:
    """Everything in the flows that no released schema bears out."""
    for name, flow in integration.flows.items():
        base = f"flows.{name}"
        for field, wanted in (("type", flow.type), ("delivers", flow.delivers)):
            if wanted and not _latest(catalog, integration.integration, wanted):
                yield Fault(f"{base}.{field}", _no_schema(catalog, integration.integration, wanted))
        payload = _latest(catalog, integration.integration, flow.type)
        if payload:
            yield from _flow_faults(base, flow, _message(catalog, payload))
            yield from _told_faults(base, flow, payload)
            yield from _lookup_faults(f"{base}.transform", flow, _message(catalog, payload))
        yield from _answer_faults(base, flow, integration)


def _flow_faults(base: str, flow: Flow, message: dict[str, Schema]) -> Iterator[Fault]:
    if flow.key is not None:
        error = _key_error(flow.key, message)
        if error:
            yield Fault(f"{base}.key", error)
    for field, deliver in (("deliver", flow.deliver), ("refusal", flow.refusal)):
        for name in _PLACEHOLDER.findall(deliver.path) if deliver else ():
            if not any(_is_text(_at(message[part], [name])) for part in ("payload", "header")):
                there = ", ".join([*_names(message["payload"]), *_names(message["header"])])
                yield Fault(f"{base}.{field}.path", f"{{{name}}} is no field of {flow.type}; there are {there}")


def _told_faults(base: str, flow: Flow, payload: Schema) -> Iterator[Fault]:
    """Keys, and what stands in an address, are told to everybody: they cannot be confidential."""
    hidden = set(marked_fields(payload))
    if flow.key is not None and flow.key.removeprefix("payload.") in hidden:
        yield Fault(f"{base}.key", f"{flow.key} is confidential, and a key stands in the open; choose another field")
    for field, deliver in (("deliver", flow.deliver), ("refusal", flow.refusal)):
        for name in _PLACEHOLDER.findall(deliver.path) if deliver else ():
            if name in hidden:
                yield Fault(f"{base}.{field}.path", f"{{{name}}} is confidential, and an address stands in the open")
    for index, step in enumerate(flow.transform):
        for name in sorted(hidden.intersection((step.lookup.key, *step.lookup.names))) if step.lookup else ():
            yield Fault(f"{base}.transform[{index}].lookup.path", f"{name} is confidential: no address may have it")


def _lookup_faults(base: str, flow: Flow, message: dict[str, Schema]) -> Iterator[Fault]:
    """Of those lookups that still meet the payload as it came in; behind a step or an expression, examples tell."""
    for index, step in enumerate(flow.transform):
        if not step.lookup:
            return
        field, there = f"{base}[{index}].lookup", _names(message["payload"])
        for name in step.lookup.names:
            if not any(_is_text(_at(message[part], name.split("."))) for part in ("payload", "header")):
                yield Fault(f"{field}.path", f"{{{name}}} is no field of {flow.type}; there are {', '.join(there)}")
        if step.lookup.into in there:
            yield Fault(f"{field}.into", f"{flow.type} has a field {step.lookup.into!r} already; choose another name")


def _answer_faults(base: str, flow: Flow, integration: Integration) -> Iterator[Fault]:
    answers = integration.flows_from(flow.to)
    if flow.answer and flow.answer.type not in answers:
        there = ", ".join(answers) or "none"
        yield Fault(f"{base}.answer.type", f"no flow brings {flow.answer.type} from {flow.to}; there are {there}")


def _key_error(path: str, message: dict[str, Schema]) -> str | None:
    part, _, rest = path.partition(".")
    if part not in _PARTS or not rest:
        return "expected a field of the message such as payload.planId or header.source"
    found = _at(message[part], rest.split("."))
    if found is None:
        return f"the schema has no such field{_close(rest, message[part])}"
    return None if _is_text(found) else "is the order's key and must be a text, a whole number or a value of an enum"


def _close(path: str, schema: Schema) -> str:
    names = _names(schema)
    close = difflib.get_close_matches(path, names, 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"


def _at(schema: Any, names: list[str]) -> Any:
    """The type of the field at a path; None where there is none."""
    for name in names:
        schema = next((branch for branch in _branches(schema) if "fields" in branch), {})
        schema = next((field["type"] for field in schema.get("fields", ()) if field["name"] == name), None)
        if schema is None:
            return None
    return schema


def _branches(schema: Any) -> list[Any]:
    return [branch for branch in (schema if isinstance(schema, list) else [schema]) if isinstance(branch, dict)]


def _is_text(schema: Any) -> bool:
    """Whether the value can stand in a key or an address."""
    if isinstance(schema, list):
        kinds = [branch for branch in schema if branch != "null"]
        return bool(kinds) and all(_is_text(branch) and not is_blob_reference(branch) for branch in kinds)
    kind = schema.get("type") if isinstance(schema, dict) else schema
    return kind in ("string", "int", "long", "enum")


def _names(schema: Schema) -> list[str]:
    return [field["name"] for field in schema["fields"]]


def _message(catalog: SchemaCatalog, payload: Schema) -> dict[str, Schema]:
    header, metadata = (expanded(catalog.latest(COMMON, name).definition) for name in ("Header", "Metadata"))
    return {"header": header, "payload": payload, "metadata": metadata}


def _latest(catalog: SchemaCatalog, folder: str, name: str) -> Schema | None:
    try:
        found: Schema = expanded(catalog.latest(folder, name).definition)
    except UnknownSchema:
        return None
    return found


def _no_schema(catalog: SchemaCatalog, folder: str, name: str) -> str:
    there = sorted(known for part, known in catalog.parts() if part == folder)
    has = f"the folder has {', '.join(there)}" if there else "schemas: names the folder that holds them"
    return f"there is no schema {folder}/{name}.1.avsc; {has}"
