"""Avro single-object encoding of events and outcomes: two marker bytes, the schema's fingerprint, the body.

A decoded datum is plain: uuids are strings, timestamps are microseconds since 1970 (UTC), content is ``bytes`` or a
blob reference. Data of an older schema is read into the newest one, so that its new fields have their defaults.
A datum to be encoded may hold aware ``datetime`` objects instead.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from fastavro import parse_schema, schemaless_writer

from linkspan.kernel.avro.version import MARKER, PREFIX, Datum, Fill, Version, without_logical_types
from linkspan.kernel.avro.writer import Write, compiled
from linkspan.kernel.crypto.pointers import hide
from linkspan.kernel.errors import Poison, UnknownWriter
from linkspan.kernel.schemas import COMMON, Schema, SchemaCatalog, full_name, schema_fingerprint

__all__ = ["MARKER", "PREFIX", "Datum", "Decoder", "Encoded", "Fill", "OutcomeCodec", "RecordCodec", "body_writer"]


class Encoded(msgspec.Struct, frozen=True):
    """An event's bytes; ``digest`` is of the payload alone (8 bytes), so a resent message has the same."""

    value: bytes
    digest: bytes


class _SealedVersion:
    """Of ``linkspan.Sealed``: the event in it, with its confidential values hidden."""

    name = "linkspan.Sealed"

    def __init__(self, schema: Schema, newest: Schema, events: Decoder) -> None:
        self._record, self._events = Version(schema, newest), events

    def record(self, value: bytes) -> Datum:
        """What stands in it. Raises Poison."""
        return self._record.datum(value)

    def inner(self, value: bytes) -> bytes | None:
        """The event in it, sealed as it is; None where that cannot be read."""
        try:
            event: bytes = self.record(value)["event"]
        except Poison:
            return None
        return event

    def written(self, value: bytes) -> Datum:
        return self._record.written(value)

    def datum(self, value: bytes) -> Datum:
        return self.json(value)

    def json(self, value: bytes) -> Datum:
        sealed = self.record(value)
        if not sealed["event"]:
            raise Poison("it is no message: what came in is kept encrypted")
        return self._events.changed(sealed["event"], lambda payload: hide(payload, sealed["pointers"]))


class Decoder:
    """Reads whatever any released version of the given record types wrote, and what is written with a foreign schema
    of the same name."""

    def __init__(
        self,
        families: Iterable[list[Schema]],
        sealed: Sequence[Schema] = (),
        foreign: Mapping[bytes, Schema] | None = None,
    ) -> None:
        """Each family: the versions of one record, newest last; ``sealed``: those of ``linkspan.Sealed``, which holds
        such a record; ``foreign``: by fingerprint, it may grow."""
        known = [*families]
        self._foreign = {} if foreign is None else foreign
        self._newest = {full_name(versions[-1]): versions[-1] for versions in known}
        self._newest_sealed = {full_name(one): one for one in sealed}
        self._versions: dict[bytes, Version | _SealedVersion] = {
            MARKER + schema_fingerprint(schema): Version(schema, versions[-1])
            for versions in known
            for schema in versions
        }
        self._sealed = {MARKER + schema_fingerprint(one): _SealedVersion(one, sealed[-1], self) for one in sealed}
        self._versions |= self._sealed
        #: First bytes of whatever can be read.
        self.prefixes = frozenset(self._versions)
        self.sealed_prefixes = self._sealed.keys()

    @classmethod
    def of_events(cls, catalog: SchemaCatalog, integration: str, types: Iterable[str]) -> Decoder:
        """Confidential values read as ``crypto.pointers.HIDDEN``; ``crypto.sealed.Opener`` has the key to them."""
        events = ([event.definition for event in catalog.events(integration, name)] for name in types)
        sealed = [variant for part in catalog.versions(COMMON, "Sealed") for variant in part.variants]
        return cls(events, sealed, catalog.foreign)

    def decode(self, value: bytes | None) -> tuple[str, Datum]:
        """The record's full name and the datum; raises Poison where the bytes are not such a record."""
        version, value = self._version(value)
        return version.name, version.datum(value)

    def json(self, value: bytes | None) -> Datum:
        """The datum in its JSON form (``JsonForm.json``); raises Poison as ``decode`` does."""
        version, value = self._version(value)
        return version.json(value)

    def unknown(self, value: bytes | None) -> bytes | None:
        """The fingerprint of the schema that it, or the event in it, says it was written with, where that is not known
        here."""
        if not value or not value.startswith(MARKER) or len(value) < PREFIX:
            return None
        prefix = value[:PREFIX]
        found = self._versions.get(prefix) or self._learned(prefix)
        if found is None:
            return prefix[len(MARKER) :]
        return self.unknown(found.inner(value)) if isinstance(found, _SealedVersion) else None

    def _learned(self, prefix: bytes) -> Version | _SealedVersion | None:
        schema = self._foreign.get(prefix[len(MARKER) :])
        if schema is None:
            return None
        name = full_name(schema)
        if name in self._newest_sealed:
            self._versions[prefix] = self._sealed[prefix] = _SealedVersion(schema, self._newest_sealed[name], self)
        elif name in self._newest:
            self._versions[prefix] = Version(schema, self._newest[name])
        return self._versions.get(prefix)

    def written(self, value: bytes | None) -> Datum:
        """As its writer has it, in its own schema. Raises Poison."""
        version, value = self._version(value)
        return version.written(value)

    def sealed(self, value: bytes | None) -> Datum | None:
        """The ``linkspan.Sealed`` that it is; None where it is none. Raises Poison where it is a damaged one."""
        found = self._sealed.get(value[:PREFIX]) if value else None
        return None if found is None or value is None else found.record(value)

    def changed(self, event: bytes, fill: Fill) -> Datum:
        """``json`` of an event that is not sealed, its payload changed by ``fill``. Raises Poison."""
        version, event = self._version(event)
        if isinstance(version, _SealedVersion):
            raise Poison("a sealed event holds another one")
        return version.filled(event, fill)

    def _version(self, value: bytes | None) -> tuple[Version | _SealedVersion, bytes]:
        if not value or not value.startswith(MARKER) or len(value) < PREFIX:
            raise Poison("the bytes are not an Avro single-object encoding (they do not begin with C3 01)")
        found = self._versions.get(value[:PREFIX]) or self._learned(value[:PREFIX])
        if found is None:
            raise UnknownWriter(value[len(MARKER) : PREFIX])
        return found, value


class RecordCodec:
    """Writes and reads one of Linkspan's own records, ``linkspan.<name>``."""

    def __init__(self, catalog: SchemaCatalog, name: str) -> None:
        versions = [variant for part in catalog.versions(COMMON, name) for variant in part.variants]
        self._write = body_writer(versions[-1])
        self._prefix = MARKER + schema_fingerprint(versions[-1])
        self._decoder = Decoder([versions], foreign=catalog.foreign)

    def encode(self, datum: Mapping[str, Any]) -> bytes:
        out = [self._prefix]
        self._write(out, datum)
        return b"".join(out)

    def decode(self, value: bytes | None) -> Datum:
        """Raises Poison."""
        return self._decoder.decode(value)[1]

    def unknown(self, value: bytes | None) -> bytes | None:
        """As ``Decoder.unknown``."""
        return self._decoder.unknown(value)

    def written(self, value: bytes) -> Datum:
        """As its writer has it: with symbols that this version does not know. Raises Poison."""
        return self._decoder.written(value)


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
    return parse_schema(without_logical_types(definition, {"uuid"}), _force=True)
