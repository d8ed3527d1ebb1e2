"""The same question asked of data: made for each version, written by it, read by every other one."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from linkspan.kernel.schemas import Schema, expanded, full_name

#: Enough for every branch of a union and every symbol of an enum of up to this many to come by.
SAMPLES = 24


def unread(writer: Schema, reader: Schema) -> str | None:
    """Why a sample that ``writer`` wrote could not be read by ``reader``; None where all could be."""
    written, wanted = (parse_schema(_plain(schema), _force=True) for schema in (writer, reader))
    for sample in samples(writer, SAMPLES):
        out = io.BytesIO()
        schemaless_writer(out, written, sample)
        out.seek(0)
        try:
            schemaless_reader(out, written, wanted)
        except Exception as error:  # noqa: BLE001 - fastavro raises many kinds; each means "cannot be read"
            return f"{type(error).__name__}: {error}"
        if out.read(1):
            return "bytes were left over"
    return None


def samples(schema: Schema, count: int, seed: int = 0) -> Iterator[Any]:
    """``count`` data that fit the schema, the same for the same seed; symbols and branches take turns."""
    make = _maker(expanded(_plain(schema)), random.Random(seed))  # noqa: S311 - samples, no secrets
    return (make() for _ in range(count))


Maker = Callable[[], Any]


def _maker(schema: Any, source: random.Random) -> Maker:
    if isinstance(schema, list):
        turns = cycle([_branch(branch, source) for branch in schema])
        return lambda: next(turns)()  # noqa: PLW0108 - another branch each time
    kind = schema["type"] if isinstance(schema, dict) else schema
    match kind:
        case "record":
            makers = {field["name"]: _maker(field["type"], source) for field in schema["fields"]}
            return lambda: {name: make() for name, make in makers.items()}
        case "enum":
            symbols = cycle(schema["symbols"])
            return lambda: next(symbols)
        case "array":
            item = _maker(schema["items"], source)
            return lambda: [item() for _ in range(source.randint(0, 3))]
        case "map":
            value = _maker(schema["values"], source)
            return lambda: {f"key{n}": value() for n in range(source.randint(0, 3))}
        case "fixed":
            return lambda: source.randbytes(schema["size"])
        case _:
            return _LEAVES[kind](source)


def _branch(branch: Any, source: random.Random) -> Maker:
    """Named branches are told apart by their names, as fastavro takes them."""
    make = _maker(branch, source)
    if isinstance(branch, dict) and branch["type"] == "record":
        return lambda: (full_name(branch), make())
    return make


_LEAVES: dict[str, Callable[[random.Random], Maker]] = {
    "null": lambda _: lambda: None,
    "boolean": lambda source: lambda: source.random() < 0.5,
    "int": lambda source: lambda: source.choice([0, -1, 2**31 - 1, -(2**31), source.randint(-1000, 1000)]),
    "long": lambda source: lambda: source.choice([0, -1, 2**62, -(2**62), source.randint(-(10**12), 10**12)]),
    "float": lambda source: lambda: source.choice([0.0, 1.5, -2.25]),
    "double": lambda source: lambda: source.choice([0.0, source.uniform(-1e9, 1e9)]),
    "bytes": lambda source: lambda: bytes(source.choices(range(128), k=source.randint(0, 8))),
    "string": lambda source: lambda: source.choice(["", "text", "größer", "x" * source.randint(1, 30)]),
}


def _plain(node: Any) -> Any:
    """Without logical types: the bytes are the same, and fastavro makes no objects of them."""
    if isinstance(node, dict):
        return {name: _plain(value) for name, value in node.items() if name != "logicalType"}
    return [_plain(item) for item in node] if isinstance(node, list) else node
