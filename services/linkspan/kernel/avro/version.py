"""One schema that data may be written with, read into the newest of its record."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cached_property
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from linkspan.kernel.avro.reader import Read, compiled_reader
from linkspan.kernel.errors import Poison
from linkspan.kernel.json_form import JsonForm
from linkspan.kernel.schemas import Schema

MARKER = b"\xc3\x01"
#: Bytes that say with which schema a value was written.
PREFIX = len(MARKER) + 8

Datum = dict[str, Any]


#: Changes a payload in place; raises LookupError, TypeError or ValueError where it has not the place to change.
Fill = Callable[[Any], None]


class Version:
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

    def datum(self, value: bytes) -> Datum:
        """Raises Poison, as all of these do."""
        found = _quickly(self.quick, value)
        return self.read(value) if found is None else found

    def json(self, value: bytes) -> Datum:
        found = _quickly(self.rendered, value)
        return self.form.json(self.read(value)) if found is None else found

    def filled(self, value: bytes, fill: Fill) -> Datum:
        """As ``json``, after ``fill`` has changed its payload. What another version wrote is changed as that version
        has it, and then read into the newest."""
        if self._reader is None:
            made = self.json(value)
            _change(made, fill)
            return made
        body = io.BytesIO(value[PREFIX:])
        try:
            written: Any = schemaless_reader(body, self._writer, None)
            _change(written, fill)
            out = io.BytesIO()
            schemaless_writer(out, self._writer, written)
        except Poison:
            raise
        except Exception as error:
            raise Poison(f"the bytes do not fit the schema {self.name}: {type(error).__name__}") from error
        return self.json(value[:PREFIX] + out.getvalue())

    def read(self, value: bytes) -> Datum:
        return self._as(value, self._reader)

    def written(self, value: bytes) -> Datum:
        """As its writer has it."""
        return self._as(value, None)

    def _as(self, value: bytes, reader: Any) -> Datum:
        body = io.BytesIO(value)
        body.seek(PREFIX)
        try:
            datum: Datum = schemaless_reader(body, self._writer, reader)
        except Exception as error:  # fastavro raises many kinds on damaged bytes
            raise Poison(f"the bytes do not fit the schema {self.name}: {type(error).__name__}: {error}") from error
        if body.tell() != len(value):
            raise Poison(f"{len(value) - body.tell()} bytes follow after the record {self.name}")
        return datum


def _change(datum: Datum, fill: Fill) -> None:
    try:
        fill(datum["payload"])
    except (LookupError, TypeError, ValueError) as error:
        raise Poison("its payload has no place for a confidential value") from error


def _quickly(read: Read | None, value: bytes) -> Datum | None:
    """None where fastavro has to decide."""
    if read is None:
        return None
    try:
        datum, end = read(value, PREFIX)
    except Exception:  # noqa: BLE001 - whatever it is, fastavro finds it too, and says it
        return None
    return datum if end == len(value) else None


def _readable(definition: Schema) -> Any:
    """Parsed for fastavro's reader without logical types: the bytes are the same, values stay plain."""
    return parse_schema(without_logical_types(definition, {"uuid", "timestamp-micros"}), _force=True)


def without_logical_types(node: Any, names: set[str]) -> Any:
    if isinstance(node, dict):
        return {
            key: without_logical_types(value, names)
            for key, value in node.items()
            if not (key == "logicalType" and value in names)
        }
    if isinstance(node, list):
        return [without_logical_types(item, names) for item in node]
    return node
