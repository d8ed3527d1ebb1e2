"""Opening an IFC file, and noticing what is wrong with it: ifcopenshell accepts a cut-off file without a word."""

from __future__ import annotations

import re
import resource
from pathlib import Path
from typing import Any

import ifcopenshell

from linkspan.reference.plans.notes import Notes, Refused

Model = Any
Entity = Any

_TAIL = 4096
_END = b"END-ISO-10303-21"
_LAST_RECORD = re.compile(rb"\)\s*;\s*(?=#\s*\d+\s*=|E|\Z)")
_LOG_LINE = re.compile(r"\[(\w+)\] (?:\[(\w+)\] )?\[[^\]]*\] (.*)")
_SHOWN = 10
#: ifcopenshell's code for a record with fewer or more values than its class has.
_VALUE_COUNT = "VAL016"
#: What ifcopenshell's parser logs for any C++ exception, the want of memory among them, which it does not tell apart.
_ENDED_EARLY = "Parsing terminated"
#: Growing arrays double: the request that failed was up to three times what the peak of the address space shows.
_NEAR = 0.4


def open_model(path: Path, notes: Notes) -> Model:
    """Raises Refused with the parser's first complaint; what it repaired in silence becomes damage in ``notes``."""
    if not _ends(path):
        notes.damage("the file ends before END-ISO-10303-21: it was cut off, and what followed is missing")
        _close(path)
    try:
        model = ifcopenshell.open(str(path), ".ifc")
    except (ifcopenshell.Error, OSError) as error:
        complaints = _complaints()
        if complaints and complaints[0][1] == _ENDED_EARLY and _near_its_memory():
            raise MemoryError from error
        said = f"{error}: {complaints[0][1]}" if complaints else str(error)
        raise Refused(f"is no readable IFC ({said})") from error
    _note_complaints(notes)
    return model


def attribute(entity: Entity, name: str) -> Any:
    """The attribute's value, None where the schema or a damaged record has none."""
    try:
        return getattr(entity, name, None)
    except RuntimeError:
        return None


def several(entity: Entity, name: str) -> tuple[Any, ...]:
    value = attribute(entity, name)
    return value if isinstance(value, tuple) else ()


def is_a(entity: Entity, *classes: str) -> bool:
    return isinstance(entity, ifcopenshell.entity_instance) and any(entity.is_a(name) for name in classes)


def by_type(model: Model, name: str) -> list[Entity]:
    """In the order of the file; empty where the schema has no such class."""
    try:
        found = model.by_type(name)
    except RuntimeError:
        return []
    return sorted(found, key=lambda entity: entity.id())


def _ends(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        return _END in file.read()


def _close(path: Path) -> None:
    """End a cut-off file after its last whole record, which the parser needs to read any of it."""
    content = path.read_bytes()
    data = re.search(rb"\bDATA\s*;", content)
    if data is None:
        raise Refused("is cut off in its header: it states nothing to extract")
    last = data.end()
    for record in _LAST_RECORD.finditer(content, data.end()):
        last = record.end()
    path.write_bytes(content[:last] + b"\nENDSEC;\nEND-ISO-10303-21;\n")


def _complaints() -> list[tuple[str, str]]:
    found = (_LOG_LINE.match(line) for line in ifcopenshell.get_log().splitlines())
    return [(line[2] if line[1] == "warning" else "error", line[3]) for line in found if line]


def _near_its_memory() -> bool:
    bound, _ = resource.getrlimit(resource.RLIMIT_AS)
    peak = re.search(r"VmPeak:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii", "replace"))
    return bound != resource.RLIM_INFINITY and peak is not None and int(peak[1]) * 1024 > _NEAR * bound


def _note_complaints(notes: Notes) -> None:
    complaints = _complaints()
    for code, text in complaints[:_SHOWN]:
        notes.say(f"the parser says: {text}")
        if code in {"error", _VALUE_COUNT}:
            notes.partial = True
    if len(complaints) > _SHOWN:
        notes.damage(f"the parser says {len(complaints) - _SHOWN} more things of this kind")
