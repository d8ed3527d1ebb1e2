"""Writes Avro bodies: the bytes of fastavro's writer.

Only what a message schema can use; where a union's branches cannot be told apart by the Python type of a value, there
is no such writer and the caller uses fastavro.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from keyword import iskeyword
from typing import Any

import msgspec

from linkspan.kernel.avro.source import NotCompiled, Source, kind_of
from linkspan.kernel.avro.varint import SMALL, time, varint
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.faults import is_blob_reference
from linkspan.kernel.json_form import default_datum
from linkspan.kernel.schemas import Schema, expanded

#: Appends the parts of a datum's bytes. A field that is absent is written as its default.
Write = Callable[[list[bytes], Any], None]
#: The same from a msgspec struct of ``struct_type(…, unset=True)``. The paths of what was absent are added to the list,
#: but for nulls. Gives the number of quotation marks of its JSON form: of all that was there, each name written once.
WriteStruct = Callable[[list[bytes], Any, list[str]], int]


class _Texts(dict[str, bytes]):
    """Texts as Avro writes them. Short ones are remembered until there are many: names come again and again."""

    def __missing__(self, text: str) -> bytes:
        encoded = text.encode()
        made = varint(len(encoded)) + encoded
        if len(made) <= 64 and len(self) < 1024:
            self[text] = made
        return made


_KNOWN = {
    "SMALL": SMALL,
    "varint": varint,
    "time": time,
    "TEXTS": _Texts(),
    "UNSET": msgspec.UNSET,
    "Struct": msgspec.Struct,
    "datetime": datetime,
}
_CONDITIONS: dict[str, tuple[str, ...]] = {
    "null": ("NoneType",),
    "boolean": ("bool",),
    "int": ("int",),
    "long": ("int", "datetime"),
    "float": ("float",),
    "double": ("float",),
    "string": ("str",),
    "enum": ("str",),
    "bytes": ("bytes",),
    "array": ("list",),
    "map": ("dict",),
    "record": ("dict",),
}
#: A block without entries; null.
_END = repr(b"\0")
#: A name, or a value that JSON writes as text, has so many quotation marks.
_MARKS = 2


def compiled(definition: Schema) -> Write | None:
    """Of a record; None where that is left to fastavro."""
    try:
        made = _Writer(structs=False)
        made.value(expanded(definition), "datum", "", ())
        made.flush()
        write: Write = made.source.function("write(out, datum)", **_KNOWN)
    except (NotCompiled, UserMistake):
        return None
    return write


def compiled_struct(
    definition: Schema, field: str, optional: frozenset[str] = frozenset(), *, names: bool = False
) -> WriteStruct | None:
    """``field``: what paths begin with; ``optional``: fields that the caller has set, so that none of them is None.
    ``names``: texts that are no ids are mostly the same ones."""
    try:
        made = _Writer(structs=True, names=names)
        marks = made.record(expanded(definition), "datum", field, (), optional)
        made.flush()
        made.source.line(f"return marks + {marks}")
        write: WriteStruct = made.source.function("write(out, datum, filled, marks=0)", **_KNOWN)
    except (NotCompiled, UserMistake):
        return None
    return write


class _Writer:
    """``path`` and ``indexes``: a format, and the variables that go into it. What is emitted returns how many quotation
    marks there are in any case; those of a part that may be missing are added to ``marks`` where it is written.

    Parts of what follows in a row are collected, and appended in one step."""

    def __init__(self, *, structs: bool, names: bool = False) -> None:
        self.source, self._structs, self._names = Source(), structs, names
        self._parts: list[str] = []
        self._kinds: dict[str, Callable[..., int]] = {
            "enum": self._enum,
            "array": self._array,
            "map": self._map,
            "record": self.record,
        }

    def flush(self) -> None:
        """To be called before anything else is emitted that appends, and at the end."""
        if self._parts:
            self.source.line(f"out += ({', '.join(self._parts)},)")
            self._parts.clear()

    @contextmanager
    def _block(self, head: str) -> Iterator[None]:
        self.flush()
        with self.source.block(head):
            yield
            self.flush()

    def value(self, schema: Any, value: str, path: str, indexes: tuple[str, ...]) -> int:
        if isinstance(schema, list):
            return self._union(schema, value, path, indexes)
        kind = kind_of(schema)
        if kind in self._kinds:
            return self._kinds[kind](schema, value, path, indexes)
        return self._leaf(kind, schema, value)

    def _leaf(self, kind: str, schema: Any, value: str) -> int:
        logical = schema.get("logicalType") if isinstance(schema, dict) else None
        match kind:
            case "null":
                return 0
            case "boolean":
                self._parts.append(f"b'\\1' if {value} else b'\\0'")
            case "long" if logical == "timestamp-micros":
                self._parts.append(f"time({value})")
            case "int" | "long":
                self._parts.append(f"varint({value})")
            case "float" | "double":
                pack = self.source.constant(struct.Struct("<f" if kind == "float" else "<d").pack)
                self._parts.append(f"{pack}({value})")
            case "string" if self._structs and logical == "uuid":
                self._parts += (repr(SMALL[36]), f"{value}.encode()")  # its length was checked
            case "string" if self._names:
                self._parts.append(f"TEXTS[{value}]")
            case "string" | "bytes":
                self._text(f"{value}.encode()" if kind == "string" else value)
            case _:
                raise NotCompiled
        return _MARKS if kind in ("string", "bytes") or logical == "timestamp-micros" else 0

    def _text(self, encoded: str) -> None:
        text, length = self.source.variable(), self.source.variable()
        self.source.line(f"{text} = {encoded}")
        self.source.line(f"{length} = len({text})")
        self._parts += (f"SMALL[{length}] if {length} < 4096 else varint({length})", text)

    def record(
        self, schema: Schema, value: str, path: str, indexes: tuple[str, ...], optional: frozenset[str] = frozenset()
    ) -> int:
        return sum(self._field(item, value, f"{path}.{item['name']}", indexes, optional) for item in schema["fields"])

    def _field(self, item: Schema, record: str, path: str, indexes: tuple[str, ...], optional: frozenset[str]) -> int:
        name, found = item["name"], self.source.variable()
        if not self._structs:
            absent = f" if {name!r} in {record} else "
            otherwise = absent + self.source.constant(_default(item)) if "default" in item else ""
            self.source.line(f"{found} = {record}[{name!r}]{otherwise}")
            return self.value(item["type"], found, path, indexes)
        self.source.line(f"{found} = {f'getattr({record}, {name!r})' if iskeyword(name) else f'{record}.{name}'}")
        if "default" not in item or name in optional:
            return _MARKS + self.value(item["type"], found, path, indexes)
        with self._block(f"if {found} is UNSET:"):
            self._absent(item, path, indexes)
        with self._block("else:"):
            self._count(_MARKS + self.value(item["type"], found, path, indexes))
        return 0

    def _absent(self, item: Schema, path: str, indexes: tuple[str, ...]) -> None:
        default = default_datum(item)
        write = compiled({"type": "record", "name": "Default", "fields": [{"name": "x", "type": item["type"]}]})
        if write is None:
            raise NotCompiled
        out: list[bytes] = []
        write(out, {"x": default})
        if written := b"".join(out):
            self._parts.append(self.source.constant(written))
        if default is not None:
            said = f"{path!r} % ({', '.join(indexes)},)" if indexes else repr(path)
            self.source.line(f"filled.append({said})")

    def _count(self, marks: int) -> None:
        if self._structs and marks:
            self.source.line(f"marks += {marks}")

    def _enum(self, schema: Schema, value: str, _path: str, _indexes: tuple[str, ...]) -> int:
        indexes = {symbol: varint(index) for index, symbol in enumerate(schema["symbols"])}
        self._parts.append(f"{self.source.constant(indexes)}[{value}]")
        return _MARKS

    def _array(self, schema: Schema, value: str, path: str, indexes: tuple[str, ...]) -> int:
        item, index = self.source.variable(), self.source.variable()
        with self._block(f"if {value}:"):
            self._parts.append(f"varint(len({value}))")
            with self._block(f"for {index}, {item} in enumerate({value}):"):
                self._count(self.value(schema["items"], item, f"{path}[%d]", (*indexes, index)))
        self._parts.append(_END)
        return 0

    def _map(self, schema: Schema, value: str, path: str, indexes: tuple[str, ...]) -> int:
        name, item = self.source.variable(), self.source.variable()
        with self._block(f"if {value}:"):
            self._parts.append(f"varint(len({value}))")
            with self._block(f"for {name}, {item} in {value}.items():"):
                self._text(f"{name}.encode()")
                self._count(_MARKS + self.value(schema["values"], item, f"{path}.%s", (*indexes, name)))
        self._parts.append(_END)
        return 0

    def _union(self, branches: list[Any], value: str, path: str, indexes: tuple[str, ...]) -> int:
        if len(branches) == 2 and branches[0] == "null" and not is_blob_reference(branches[1]):
            with self._block(f"if {value} is None:"):
                self._parts.append(_END)
            with self._block("else:"):
                self._branch(1, branches[1], value, path, indexes)
            return 0
        word, sort = "if", self.source.variable()
        self.source.line(f"{sort} = type({value})")
        for index, (branch, condition) in enumerate(zip(branches, self._conditions(branches, sort), strict=True)):
            with self._block(f"{word} {condition}:"):
                self._branch(index, branch, value, path, indexes)
            word = "elif"
        with self._block("else:"):
            self.source.line(f"raise TypeError('no branch for a value of ' + {sort}.__name__)")
        return 0

    def _branch(self, index: int, branch: Any, value: str, path: str, indexes: tuple[str, ...]) -> None:
        self._parts.append(repr(varint(index)))
        if self._structs and is_blob_reference(branch):
            of_datum = self.source.constant(compiled(branch))
            self.flush()
            self.source.line(f"{of_datum}(out, {value})")
            self._count(_MARKS)  # it came as text
        else:
            self._count(self.value(branch, value, path, indexes))

    def _conditions(self, branches: list[Any], sort: str) -> list[str]:
        """One for each branch, by the type of the value; a record comes as a struct, a blob reference as a dict."""
        sorts = [self._sorts(branch) for branch in branches]
        named = [name for names in sorts for name in names]
        if len(set(named)) < len(named):
            raise NotCompiled
        if "float" in named and "int" not in named:
            sorts = [(*names, "int") if "float" in names else names for names in sorts]
        return [" or ".join(_is(sort, name) for name in names) for names in sorts]

    def _sorts(self, branch: Any) -> tuple[str, ...]:
        kind = kind_of(branch)
        if kind not in _CONDITIONS:
            raise NotCompiled
        is_struct = self._structs and kind == "record" and not is_blob_reference(branch)
        return ("Struct",) if is_struct else _CONDITIONS[kind]


def _is(sort: str, name: str) -> str:
    match name:
        case "Struct":
            return f"issubclass({sort}, Struct)"
        case "NoneType":
            return f"{sort} is type(None)"
        case _:
            return f"{sort} is {name}"


def _default(item: Schema) -> Any:
    """Avro writes the default of bytes as text, a character a byte."""
    value = item["default"]
    return value.encode("latin-1") if item["type"] == "bytes" else value
