"""Every version of every schema against every other one of the same name, in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, permutations

from linkspan.kernel.errors import Fault
from linkspan.kernel.evolution.proof import unread
from linkspan.kernel.evolution.resolve import unreadable
from linkspan.kernel.schemas import COMMON, Schema, SchemaCatalog, SchemaVersion


def incompatible(catalog: SchemaCatalog) -> list[str]:
    """A line for each field that one version could not read of another's data; empty where all read all.

    Newer ones read older data (a replay), older ones newer data (a rolling upgrade).
    """
    return [line for folder, name in catalog.parts() for line in _part(catalog, folder, name)]


def _part(catalog: SchemaCatalog, folder: str, name: str) -> Iterator[str]:
    versions = catalog.versions(folder, name)
    field = name[:1].lower() + name[1:] if folder == COMMON else "payload"
    for reader, writer in permutations(versions, 2):
        if (reader.version - writer.version) in (1, -1) or not _by_way_of(versions, reader, writer, field):
            for line in _pair(writer, reader, field):
                yield f"{folder}/{name}: version {reader.version} cannot read version {writer.version}: {line}"


def _by_way_of(versions: list[SchemaVersion], reader: SchemaVersion, writer: SchemaVersion, field: str) -> bool:
    """Whether a pair of neighbours between the two says the same already."""
    faults = set(unreadable(writer.definition, reader.definition, field))
    step = 1 if reader.version > writer.version else -1
    between = sorted((v for v in versions if _within(v, reader, writer)), key=lambda v: step * v.version)
    return bool(faults) and any(
        faults <= set(unreadable(a.definition, b.definition, field)) for a, b in pairwise(between)
    )


def _within(version: SchemaVersion, one: SchemaVersion, other: SchemaVersion) -> bool:
    low, high = sorted((one.version, other.version))
    return low <= version.version <= high


def _pair(writer: SchemaVersion, reader: SchemaVersion, field: str) -> Iterator[str]:
    said: set[str] = set()
    for written in writer.variants:
        faults = unreadable(written, reader.definition, field)
        lines = [_line(fault, newer_reads=reader.version > writer.version) for fault in faults]
        for line in lines or _by_data(written, reader.definition):
            if line not in said:
                said.add(line)
                yield line


def _line(fault: Fault, *, newer_reads: bool) -> str:
    if fault.error.startswith("has no default"):
        how = "added" if newer_reads else "removed"
        return f"field {fault.field!r} was {how} without a default"
    return f"field {fault.field!r}: {fault.error}"


def _by_data(writer: Schema, reader: Schema) -> list[str]:
    wrong = unread(writer, reader)
    return [f"data of it could not be read: {wrong}"] if wrong else []
