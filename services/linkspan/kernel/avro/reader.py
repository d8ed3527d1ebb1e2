"""Reads Avro bodies that a schema's own version wrote: what fastavro's reader gives.

A reader raises whatever it comes upon where the bytes are not as our writer makes them; fastavro then decides, and says
what is wrong. An answer of its own is right only if it ends where the bytes end.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from linkspan.kernel.avro.source import NotCompiled, Source, kind_of
from linkspan.kernel.avro.varint import unread_time, unread_varint
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.json_form import iso
from linkspan.kernel.schemas import Schema, expanded

#: From the bytes and where the body begins: the datum, and where it ends.
Read = Callable[[bytes, int], tuple[Any, int]]


class NotOurs(Exception):
    """Bytes that our writer does not make."""


_KNOWN = {"more": unread_varint, "time": unread_time, "iso": iso, "NotOurs": NotOurs}


def compiled_reader(definition: Schema, *, rendered: bool) -> Read | None:
    """``rendered``: times as ISO 8601, as ``JsonForm.json`` gives them. None where that is left to fastavro."""
    try:
        made = _Reader(rendered=rendered)
        found = made.value(expanded(definition))
        made.source.line(f"return {found}, at")
        read: Read = made.source.function("read(data, at)", **_KNOWN)
    except (NotCompiled, UserMistake):
        return None
    return read


class _Reader:
    """What is emitted returns the expression of what was read."""

    def __init__(self, *, rendered: bool) -> None:
        self.source, self._rendered = Source(), rendered
        self._kinds: dict[str, Callable[[Any], str]] = {
            "boolean": self._boolean,
            "int": self._long,
            "long": self._long,
            "float": lambda _: self._packed("<f", 4),
            "double": lambda _: self._packed("<d", 8),
            "string": lambda _: self._sliced("data[at:{end}].decode()"),
            "bytes": lambda _: self._sliced("data[at:{end}]"),
            "enum": self._enum,
            "array": self._array,
            "map": self._map,
            "record": self._record,
        }

    def value(self, schema: Any) -> str:
        if isinstance(schema, list):
            return self._union(schema)
        kind = kind_of(schema)
        if kind == "null":
            return "None"
        if kind not in self._kinds:
            raise NotCompiled
        return self._kinds[kind](schema)

    def _byte(self) -> str:
        found = self.source.variable()
        self.source.line(f"{found} = data[at]")
        self.source.line("at += 1")
        return found

    def _coded(self) -> str:
        """A zigzag number as it is coded."""
        found = self._byte()
        self.source.line(f"if {found} > 127: {found}, at = more(data, at, {found})")
        return found

    def _natural(self) -> str:
        found = self._coded()
        self.source.line(f"if {found} & 1: raise NotOurs")
        return f"({found} >> 1)"

    def _long(self, schema: Any) -> str:
        found = self.source.variable()
        if isinstance(schema, dict) and schema.get("logicalType") == "timestamp-micros":
            self.source.line(f"{found}, at = time(data, at)")
            if self._rendered:
                self.source.line(f"{found} = iso({found})")
            return found
        coded = self._coded()
        self.source.line(f"{found} = ({coded} >> 1) ^ -({coded} & 1)")
        return found

    def _boolean(self, _schema: Any) -> str:
        found = self._byte()
        self.source.line(f"if {found} > 1: raise NotOurs")
        self.source.line(f"{found} = {found} == 1")
        return found

    def _packed(self, format_: str, size: int) -> str:
        unpack, found = self.source.constant(struct.Struct(format_).unpack_from), self.source.variable()
        self.source.line(f"{found} = {unpack}(data, at)[0]")
        self.source.line(f"at += {size}")
        return found

    def _sliced(self, expression: str) -> str:
        """A slice may end behind the data: then so does the whole, which the caller sees."""
        end, found = self.source.variable(), self.source.variable()
        self.source.line(f"{end} = at + {self._natural()}")
        self.source.line(f"{found} = {expression.format(end=end)}")
        self.source.line(f"at = {end}")
        return found

    def _enum(self, schema: Schema) -> str:
        symbols, found = self.source.constant(tuple(schema["symbols"])), self.source.variable()
        self.source.line(f"{found} = {symbols}[{self._natural()}]")
        return found

    def _record(self, schema: Schema) -> str:
        found = self.source.variable()
        fields = [f"{item['name']!r}: {self.value(item['type'])}" for item in schema["fields"]]
        self.source.line(f"{found} = {{{', '.join(fields)}}}")
        return found

    def _array(self, schema: Schema) -> str:
        found = self.source.variable()
        self.source.line(f"{found} = []")
        self._blocks(lambda: self.source.line(f"{found}.append({self.value(schema['items'])})"))
        return found

    def _map(self, schema: Schema) -> str:
        found = self.source.variable()
        self.source.line(f"{found} = {{}}")

        def entry() -> None:
            name = self._sliced("data[at:{end}].decode()")
            self.source.line(f"{found}[{name}] = {self.value(schema['values'])}")

        self._blocks(entry)
        return found

    def _blocks(self, entry: Callable[[], None]) -> None:
        """More entries than bytes are none of ours, whose entries take some."""
        with self.source.block("while True:"):
            count = self._coded()
            self.source.line(f"if not {count}: break")
            self.source.line(f"if {count} & 1 or {count} >> 1 > len(data): raise NotOurs")
            with self.source.block(f"for _ in range({count} >> 1):"):
                entry()

    def _union(self, branches: list[Any]) -> str:
        index, found, word = self._byte(), self.source.variable(), "if"
        for number, branch in enumerate(branches):
            with self.source.block(f"{word} {index} == {2 * number}:"):
                self.source.line(f"{found} = {self.value(branch)}")
            word = "elif"
        with self.source.block("else:"):
            self.source.line("raise NotOurs")
        return found
