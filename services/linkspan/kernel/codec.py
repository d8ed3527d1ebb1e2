"""Avro single-object encoding of events and outcomes: two marker bytes, the schema's fingerprint, the body.

A decoded datum is plain: uuids are strings, timestamps are microseconds since 1970 (UTC), content is ``bytes`` or a
blob reference. Data of an older schema is read into the newest one, so that its new fields have their defaults.
A datum to be encoded may hold aware ``datetime`` objects instead.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from linkspan.kernel.avro_writer import Write, compiled
from linkspan.kernel.errors import Poison
from linkspan.kernel.schemas import COMMON, Schema, SchemaCatalog, schema_fingerprint

MARKER = b"\xc3\x01"
_PREFIX = len(MARKER) + 8

Datum = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Encoded:
    """An event's bytes; ``digest`` is of the payload alone (8 bytes), so a resent message has the same."""

    value: bytes
    digest: bytes


class EventEncoder:
    """Writes events of one type with the newest schema."""

    def __init__(self, catalog: SchemaCatalog, integration: str, type_name: str) -> None:
        self.schema = catalog.events(integration, type_name)[-1]
        self._prefix = MARKER + self.schema.fingerprint
        self._header = _writer(catalog.latest(COMMON, "Header").definition)
        self._payload = _writer(catalog.latest(integration, type_name).definition)
        self._metadata = _writer(catalog.latest(COMMON, "Metadata").definition)

    def encode(self, datum: Datum) -> Encoded:
        """``datum`` must fit the schema (see ``kernel.json_form``)."""
        out = bytearray(self._prefix)
        self._header(out, datum["header"])
        start = len(out)
        self._payload(out, datum["payload"])
        end = len(out)
        self._metadata(out, datum["metadata"])
        value = bytes(out)
        return Encoded(value, hashlib.blake2b(value[start:end], digest_size=8).digest())


class Decoder:
    """Reads whatever any released version of the given record types wrote."""

    def __init__(self, families: Iterable[list[Schema]]) -> None:
        """Each family: the versions of one record, newest last."""
        self._readers: dict[bytes, tuple[str, Any, Any]] = {}
        for versions in families:
            newest = _readable(versions[-1])
            for schema in versions:
                writer = _readable(schema)
                name = f"{schema['namespace']}.{schema['name']}"
                same = schema is versions[-1]
                self._readers[schema_fingerprint(schema)] = (name, writer, None if same else newest)

    @classmethod
    def of_events(cls, catalog: SchemaCatalog, integration: str, types: Iterable[str]) -> Decoder:
        return cls([event.definition for event in catalog.events(integration, name)] for name in types)

    def decode(self, value: bytes | None) -> tuple[str, Datum]:
        """The record's full name and the datum; raises Poison where the bytes are not such a record."""
        if not value or not value.startswith(MARKER) or len(value) < _PREFIX:
            raise Poison("the bytes are not an Avro single-object encoding (they do not begin with C3 01)")
        found = self._readers.get(value[len(MARKER) : _PREFIX])
        if found is None:
            raise Poison(f"no released schema has the fingerprint {value[len(MARKER) : _PREFIX].hex()}")
        name, writer, reader = found
        body = io.BytesIO(value)
        body.seek(_PREFIX)
        try:
            datum = schemaless_reader(body, writer, reader)
        except Exception as error:  # fastavro raises many kinds on damaged bytes
            raise Poison(f"the bytes do not fit the schema {name}: {type(error).__name__}: {error}") from error
        if body.tell() != len(value):
            raise Poison(f"{len(value) - body.tell()} bytes follow after the record {name}")
        return name, datum


class RecordCodec:
    """Writes and reads one of Linkspan's own records, ``linkspan.<name>``."""

    def __init__(self, catalog: SchemaCatalog, name: str) -> None:
        versions = [variant for part in catalog.versions(COMMON, name) for variant in part.variants]
        self._write = _writer(versions[-1])
        self._prefix = MARKER + schema_fingerprint(versions[-1])
        self._decoder = Decoder([versions])

    def encode(self, datum: Mapping[str, Any]) -> bytes:
        out = bytearray(self._prefix)
        self._write(out, datum)
        return bytes(out)

    def decode(self, value: bytes | None) -> Datum:
        """Raises Poison."""
        return self._decoder.decode(value)[1]


class OutcomeCodec(RecordCodec):
    """Writes and reads ``linkspan.Outcome``."""

    def __init__(self, catalog: SchemaCatalog) -> None:
        super().__init__(catalog, "Outcome")


def _writer(definition: Schema) -> Write:
    """Compiled, or fastavro's where the schema cannot be."""
    made = compiled(definition)
    if made is not None:
        return made
    schema = _writable(definition)

    def write(out: bytearray, value: Any) -> None:
        body = io.BytesIO()
        schemaless_writer(body, schema, value)
        out += body.getvalue()

    return write


def _writable(definition: Schema) -> Any:
    """Parsed for fastavro's writer without the uuid type: ids stay strings."""
    return parse_schema(_without_logical_types(definition, {"uuid"}), _force=True)


def _readable(definition: Schema) -> Any:
    """Parsed for fastavro's reader without logical types: the bytes are the same, values stay plain."""
    return parse_schema(_without_logical_types(definition, {"uuid", "timestamp-micros"}), _force=True)


def _without_logical_types(node: Any, names: set[str]) -> Any:
    if isinstance(node, dict):
        return {
            key: _without_logical_types(value, names)
            for key, value in node.items()
            if not (key == "logicalType" and value in names)
        }
    if isinstance(node, list):
        return [_without_logical_types(item, names) for item in node]
    return node
