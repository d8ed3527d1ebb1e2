"""The event of a message, straight from the structs that validation decoded."""

from __future__ import annotations

import hashlib
from typing import Any

from linkspan.ingress.absent import filler
from linkspan.kernel.avro.writer import WriteStruct, compiled_struct
from linkspan.kernel.codec import MARKER, Encoded, body_writer
from linkspan.kernel.json_form import plain
from linkspan.kernel.message import OPTIONAL_HEADER, OPTIONAL_METADATA
from linkspan.kernel.schemas import COMMON, Schema, SchemaCatalog, expanded

#: Also optional, because the schema has defaults; named here so that it is known which were left out.
FILLED_METADATA = OPTIONAL_METADATA | {"priority", "retryCount"}
#: What ``EventWriter`` gives where nobody counted.
UNCOUNTED = -1


class EventWriter:
    """Of one type, with the newest schema."""

    def __init__(self, catalog: SchemaCatalog, integration: str, type_name: str) -> None:
        self.schema = catalog.events(integration, type_name)[-1]
        self._prefix = MARKER + self.schema.fingerprint
        self._header = _writer(catalog.latest(COMMON, "Header").definition, "header", OPTIONAL_HEADER, names=True)
        self._payload = _writer(catalog.latest(integration, type_name).definition, "payload")
        self._metadata = _writer(catalog.latest(COMMON, "Metadata").definition, "metadata", FILLED_METADATA)

    def write(self, header: Any, payload: Any, metadata: Any, filled: list[str]) -> tuple[Encoded, int]:
        """The event, and the quotation marks of the parts as JSON with each name once, or UNCOUNTED.

        ``filled`` gains the fields that are written as their schema's defaults; all of it goes into
        ``metadata.defaulted``, whose marks are counted as it is written.
        """
        out = [self._prefix]
        parts: list[bytes] = []
        marks = self._header(out, header, filled)
        of_payload = self._payload(parts, payload, filled)
        content = b"".join(parts)
        out.append(content)
        if filled:
            metadata.defaulted = [*(metadata.defaulted or ()), *filled]
        marks += of_payload + self._metadata(out, metadata, [])
        digest = hashlib.blake2b(content, digest_size=8).digest()
        return Encoded(b"".join(out), digest), marks if of_payload != UNCOUNTED else UNCOUNTED


def _writer(
    definition: Schema, field: str, optional: frozenset[str] = frozenset(), *, names: bool = False
) -> WriteStruct:
    made = compiled_struct(definition, field, optional, names=names)
    return _by_fastavro(definition, field) if made is None else made


def _by_fastavro(definition: Schema, field: str) -> WriteStruct:
    fill, write_body = filler(expanded(definition)), body_writer(definition)

    def write(out: list[bytes], struct: Any, filled: list[str]) -> int:
        datum = plain(struct)
        if fill:
            fill(datum, field, filled)
        write_body(out, datum)
        return UNCOUNTED

    return write
