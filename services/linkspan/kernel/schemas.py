"""The catalogue of Avro schemas: every released version of every part, and the event schemas composed of them.

Files lie at ``<root>/<namespace>/<Name>.<version>.avsc``, versions counted from 1. Folder ``linkspan`` holds the
common parts (records ``linkspan.<Name>``), a folder named like an integration its payloads
(``<integration>.payload.<Name>``). The event of a type is the record ``<integration>.<type>`` of header, payload and
metadata. Any combination of released versions of the three may lie in a topic, so all of them are known.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fastavro.schema import SchemaParseException, fingerprint, parse_schema, to_parsing_canonical_form

from linkspan.kernel.errors import LinkspanError, UserMistake

Schema = dict[str, Any]
COMMON = "linkspan"
_FILE = re.compile(r"([A-Za-z][A-Za-z0-9]*)\.([1-9][0-9]*)\.avsc")


class UnknownSchema(LinkspanError):
    """No released schema has this name or fingerprint."""


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """One released file; ``definition`` has every named type written out where it is first used."""

    folder: str
    name: str
    version: int
    definition: Schema
    path: Path


@dataclass(frozen=True, slots=True)
class EventSchema:
    """A composed event schema; ``fingerprint`` is CRC-64-AVRO of its canonical form, 8 bytes little-endian."""

    versions: tuple[int, int, int]
    definition: Schema
    fingerprint: bytes


class SchemaCatalog:
    """Reads all schema files below ``roots`` once; a later root adds to the earlier ones."""

    def __init__(self, *roots: Path) -> None:
        raw: dict[tuple[str, str], dict[int, tuple[Path, Schema]]] = {}
        for root in roots:
            for path in sorted(root.glob("*/*.avsc")):
                folder, name, version = _identify(path)
                raw.setdefault((folder, name), {})[version] = (path, _read(path))
        self._names = _named_types(raw)
        self._versions = {
            part: [
                SchemaVersion(*part, version, self._written_out(path, schema), path)
                for version, (path, schema) in sorted(found.items())
            ]
            for part, found in raw.items()
        }

    def parts(self) -> Iterable[tuple[str, str]]:
        """(folder, name) of every schema."""
        return self._versions.keys()

    def versions(self, folder: str, name: str) -> list[SchemaVersion]:
        """Oldest first; raises UnknownSchema."""
        try:
            return self._versions[folder, name]
        except KeyError:
            raise UnknownSchema(f"no schema {folder}/{name}.1.avsc") from None

    def latest(self, folder: str, name: str) -> SchemaVersion:
        return self.versions(folder, name)[-1]

    def events(self, integration: str, type_name: str) -> list[EventSchema]:
        """Every combination of released header, payload and metadata; the newest of all three comes last."""
        combinations = itertools.product(
            self.versions(COMMON, "Header"),
            self.versions(integration, type_name),
            self.versions(COMMON, "Metadata"),
        )
        return [_compose(integration, type_name, parts) for parts in combinations]

    def _written_out(self, path: Path, schema: Schema) -> Schema:
        definition: Schema = _inline(schema, self._names, set())
        try:
            parse_schema(definition, _force=True)
        except (SchemaParseException, KeyError, TypeError, ValueError) as error:
            raise UserMistake(f"{path.name}: not a valid Avro schema: {error}") from error
        return definition


def schema_fingerprint(definition: Schema) -> bytes:
    """CRC-64-AVRO of the canonical form, 8 bytes little-endian, as single-object encoding carries it."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(definition), "CRC-64-AVRO"))


@cache
def packaged_schemas() -> Path:
    """The folder of Linkspan's own schemas: inside the installed package, or ``schemas/`` of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "_schemas"
    return installed if installed.is_dir() else package.parents[1] / "schemas"


def _identify(path: Path) -> tuple[str, str, int]:
    match = _FILE.fullmatch(path.name)
    if not match:
        raise UserMistake(f"{path}: a schema file is named <Name>.<version>.avsc, for example PlanUploaded.1.avsc")
    return path.parent.name, match[1], int(match[2])


def _read(path: Path) -> Schema:
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserMistake(f"{path}: not valid JSON: {error}") from error
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise UserMistake(f"{path}: a schema file holds one record")
    expected = f"{path.parent.name}{'' if path.parent.name == COMMON else '.payload'}.{_identify(path)[1]}"
    if _full_name(schema) != expected:
        raise UserMistake(f"{path}: the record is named {_full_name(schema)}, expected {expected}")
    return schema


def _full_name(schema: Schema) -> str:
    return f"{schema.get('namespace', '')}.{schema.get('name', '')}"


def _named_types(raw: dict[tuple[str, str], dict[int, tuple[Path, Schema]]]) -> dict[str, Schema]:
    """What another file may name: the newest version of every common record."""
    return {f"{COMMON}.{name}": found[max(found)][1] for (folder, name), found in raw.items() if folder == COMMON}


def _inline(node: Any, names: dict[str, Schema], used: set[str]) -> Any:
    if isinstance(node, str) and node in names and node not in used:
        used.add(node)
        return _inline(names[node], names, used)
    if isinstance(node, list):
        return [_inline(item, names, used) for item in node]
    if isinstance(node, dict):
        return {
            k: _inline(v, names, used) if k in ("type", "items", "values", "fields") else v for k, v in node.items()
        }
    return node


def _compose(integration: str, type_name: str, parts: tuple[SchemaVersion, ...]) -> EventSchema:
    fields = [
        {"name": name, "type": part.definition}
        for name, part in zip(("header", "payload", "metadata"), parts, strict=True)
    ]
    definition = {"type": "record", "namespace": integration, "name": type_name, "fields": fields}
    header, payload, metadata = (part.version for part in parts)
    return EventSchema((header, payload, metadata), definition, schema_fingerprint(definition))
