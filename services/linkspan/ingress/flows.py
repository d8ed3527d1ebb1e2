"""What ingress knows of each flow before a message arrives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from linkspan.ingress.encode import EventWriter
from linkspan.ingress.keys import Key, key_reader
from linkspan.kernel.crypto.confidential import Take, taker
from linkspan.kernel.faults import is_blob_reference
from linkspan.kernel.json_form import struct_type
from linkspan.kernel.schemas import Schema, SchemaCatalog, expanded
from linkspan.kernel.spec import Flow, Integration
from linkspan.kernel.topics import FlowTopics, Headers


@dataclass(frozen=True, slots=True, eq=False)
class FlowIntake:
    """``content``: paths inside the payload whose content may leave the event; ``headers`` are every record's.
    ``uuid_key``: the key is a uuid, which may be written in either case. ``confidential``: takes such values out
    of a payload; None where there are none."""

    name: str
    spec: Flow
    topics: FlowTopics
    payload: Schema
    decoder: msgspec.json.Decoder[Any]
    writer: EventWriter
    key: Key
    headers: tuple[tuple[str, bytes], ...]
    content: tuple[tuple[str, ...], ...]
    uuid_key: bool
    confidential: Take | None

    def lane(self, key: str) -> str:
        """One text for each key, however it is written, so that all its messages are one lane."""
        return key.lower() if self.uuid_key else key


def flow_intakes(integration: Integration, catalog: SchemaCatalog) -> list[FlowIntake]:
    """Raises UnknownSchema where a flow's type has none."""
    return [_intake(integration.integration, name, flow, catalog) for name, flow in integration.flows.items()]


def _intake(integration: str, name: str, flow: Flow, catalog: SchemaCatalog) -> FlowIntake:
    payload = expanded(catalog.latest(integration, flow.type).definition)
    writer = EventWriter(catalog, integration, flow.type)
    return FlowIntake(
        name=name,
        spec=flow,
        topics=FlowTopics.of(integration, name),
        payload=payload,
        decoder=msgspec.json.Decoder(struct_type(payload, unset=True)),
        writer=writer,
        key=key_reader(flow.key, payload),
        headers=(
            (Headers.TYPE, flow.type.encode()),
            (Headers.SCHEMA, ".".join(str(version) for version in writer.schema.versions).encode()),
        ),
        content=tuple(_content(payload, ())),
        uuid_key=_has_uuid_key(flow.key, payload),
        confidential=taker(payload),
    )


def _has_uuid_key(key: str | None, payload: Schema) -> bool:
    part, *path = (key or "header.messageId").split(".")
    return _is_uuid(payload, path) if part == "payload" else path == ["messageId"]


def _is_uuid(schema: Any, path: list[str]) -> bool:
    branches = [one for one in (schema if isinstance(schema, list) else [schema]) if isinstance(one, dict)]
    if not path:
        return any(one.get("logicalType") == "uuid" for one in branches)
    fields = [field for one in branches for field in one.get("fields", ())]
    return any(_is_uuid(field["type"], path[1:]) for field in fields if field["name"] == path[0])


def _content(schema: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(schema, list) and any(is_blob_reference(branch) for branch in schema):
        yield path
    elif isinstance(schema, dict) and schema.get("type") == "record":
        for item in schema["fields"]:
            yield from _content(item["type"], (*path, item["name"]))
