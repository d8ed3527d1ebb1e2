"""Avro single-object encoding of events and outcomes: two marker bytes, the schema's fingerprint, the body.

A decoded datum is plain: uuids are strings, timestamps are microseconds since 1970 (UTC), content is ``bytes`` or a
blob reference. Data of an older schema is read into the newest one, so that its new fields have their defaults.
A datum to be encoded may hold aware ``datetime`` objects instead.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import msgspec
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from linkspan.kernel.avro.reader import Read, compiled_reader
from linkspan.kernel.avro.writer import Write, compiled
from linkspan.kernel.errors import Poison
from linkspan.kernel.json_form import JsonForm
from linkspan.kernel.schemas import COMMON, Schema, SchemaCatalog, schema_fingerprint

MARKER = b"\xc3\x01"
_PREFIX = len(MARKER) + 8

Datum = dict[str, Any]


class Encoded(msgspec.Struct, frozen=True):
    """An event's bytes; ``digest`` is of the payload alone (8 bytes), so a resent message has the same."""

    value: bytes
    digest: bytes


class _Version:
    """One schema that data may be written with; ``quick`` and ``rendered`` are only of the newest."""

    def __init__(self, schema: Schema, newest: Schema) -> None:
        self.name = f"{schema['namespace']}.{schema['name']}"
        self._newest = newest
        self._writer = _readable(schema)
        self._reader = None if schema is newest else _readable(newest)
        is_newest = schema is newest
        self.quick = compiled_reader(schema, rendered=False) if is_newest else None
        self.rendered = compiled_reader(schema, rendered=True) if is_newest else None

    @cached_property
    def form(self) -> JsonForm:
        return JsonForm(self._newest, "")

    def read(self, value: bytes) -> Datum:
        """Raises Poison."""
        body = io.BytesIO(value)
        body.seek(_PREFIX)
        try:
            datum: Datum = schemaless_reader(body, self._writer, self._reader)
        except Exception as error:  # fastavro raises many kinds on damaged bytes
            raise Poison(f"the bytes do not fit the schema {self.name}: {type(error).__name__}: {error}") from error
        if body.tell() != len(value):
            raise Poison(f"{len(value) - body.tell()} bytes follow after the record {self.name}")
        return datum


class Decoder:
    """Reads whatever any released version of the given record types wrote."""

    def __init__(self, families: Iterable[list[Schema]]) -> None:
        """Each family: the versions of one record, newest last."""
        self._versions = {
            MARKER + schema_fingerprint(schema): _Version(schema, versions[-1])
            for versions in families
            for schema in versions
        }

    @classmethod
    def of_events(cls, catalog: SchemaCatalog, integration: str, types: Iterable[str]) -> Decoder:
        return cls([event.definition for event in catalog.events(integration, name)] for name in types)

    def decode(self, value: bytes | None) -> tuple[str, Datum]:
        """The record's full name and the datum; raises Poison where the bytes are not such a record."""
        version, value = self._version(value)
        found = _quickly(version.quick, value)
        return version.name, version.read(value) if found is None else found

    def json(self, value: bytes | None) -> Datum:
        """The datum in its JSON form (``JsonForm.json``); raises Poison as ``decode`` does."""
        version, value = self._version(value)
        found = _quickly(version.rendered, value)
        return version.form.json(version.read(value)) if found is None else found

    def _version(self, value: bytes | None) -> tuple[_Version, bytes]:
        if not value or not value.startswith(MARKER) or len(value) < _PREFIX:
            raise Poison("the bytes are not an Avro single-object encoding (they do not begin with C3 01)")
        found = self._versions.get(value[:_PREFIX])
        if found is None:
            raise Poison(f"no released schema has the fingerprint {value[len(MARKER) : _PREFIX].hex()}")
        return found, value


def _quickly(read: Read | None, value: bytes) -> Datum | None:
    """None where fastavro has to decide."""
    if read is None:
        return None
    try:
        datum, end = read(value, _PREFIX)
    except Exception:  # noqa: BLE001 - whatever it is, fastavro finds it too, and says it
        return None
    return datum if end == len(value) else None


class RecordCodec:
    """Writes and reads one of Linkspan's own records, ``linkspan.<name>``."""

    def __init__(self, catalog: SchemaCatalog, name: str) -> None:
        versions = [variant for part in catalog.versions(COMMON, name) for variant in part.variants]
        self._write = body_writer(versions[-1])
        self._prefix = MARKER + schema_fingerprint(versions[-1])
        self._decoder = Decoder([versions])

    def encode(self, datum: Mapping[str, Any]) -> bytes:
        out = [self._prefix]
        self._write(out, datum)
        return b"".join(out)

    def decode(self, value: bytes | None) -> Datum:
        """Raises Poison."""
        return self._decoder.decode(value)[1]


class OutcomeCodec(RecordCodec):
    """Writes and reads ``linkspan.Outcome``."""

    def __init__(self, catalog: SchemaCatalog) -> None:
        super().__init__(catalog, "Outcome")


def body_writer(definition: Schema) -> Write:
    """Compiled, or fastavro's where the schema cannot be."""
    made = compiled(definition)
    if made is not None:
        return made
    schema = _writable(definition)

    def write(out: list[bytes], value: Any) -> None:
        body = io.BytesIO()
        schemaless_writer(body, schema, value)
        out.append(body.getvalue())

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
