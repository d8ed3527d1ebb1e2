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

from linkspan.kernel.crypto.marks import mark_faults, marked_fields
from linkspan.kernel.errors import LinkspanError, UserMistake

Schema = dict[str, Any]
COMMON = "linkspan"
PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_NESTED = ("type", "items", "values", "fields")
_FILE = re.compile(r"([A-Za-z][A-Za-z0-9]*)\.([1-9][0-9]*)\.avsc")


class UnknownSchema(LinkspanError):
    """No released schema has this name or fingerprint."""


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """One released file; ``definition`` has every named type written out where it is first used.

    ``variants``: the same with every combination of released versions of the common records that it names, the newest
    (``definition``) last; events of all of them may lie in a topic.
    """

    folder: str
    name: str
    version: int
    variants: tuple[Schema, ...]
    path: Path

    @property
    def definition(self) -> Schema:
        return self.variants[-1]


@dataclass(frozen=True, slots=True)
class EventSchema:
    """A composed event schema; ``fingerprint`` is CRC-64-AVRO of its canonical form, 8 bytes little-endian."""

    versions: tuple[int, int, int]
    definition: Schema
    fingerprint: bytes


class SchemaCatalog:
    """Reads all schema files below ``roots`` once; a later root adds to the earlier ones. ``foreign``: what other
    versions of Linkspan write with, by fingerprint, as far as this process has learned it."""

    def __init__(self, *roots: Path) -> None:
        self.foreign: dict[bytes, Schema] = {}
        raw: dict[tuple[str, str], dict[int, tuple[Path, Schema]]] = {}
        for root in roots:
            for path in sorted(root.glob("*/*.avsc")):
                folder, name, version = _identify(path)
                raw.setdefault((folder, name), {})[version] = (path, _read(path))
        self._common = _common_records(raw)
        self._versions = {
            part: [
                SchemaVersion(*part, version, self._variants(path, schema), path)
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
            *(
                [(part.version, variant) for part in self.versions(*name) for variant in part.variants]
                for name in ((COMMON, "Header"), (integration, type_name), (COMMON, "Metadata"))
            )
        )
        return [_compose(integration, type_name, parts) for parts in combinations]

    def _variants(self, path: Path, schema: Schema) -> tuple[Schema, ...]:
        named = sorted(_reached(schema, self._common))
        made = [
            self._written_out(path, schema, dict(zip(named, choice, strict=True)))
            for choice in itertools.product(*(self._common[name] for name in named))
        ]
        return tuple(variant for index, variant in enumerate(made) if variant not in made[index + 1 :])

    def _written_out(self, path: Path, schema: Schema, names: dict[str, Schema]) -> Schema:
        definition: Schema = _inline(schema, names, set())
        try:
            parse_schema(definition, _force=True)
        except (SchemaParseException, KeyError, TypeError, ValueError) as error:
            raise UserMistake(f"{path.name}: not a valid Avro schema: {error}") from error
        return definition


def schema_fingerprint(definition: Schema) -> bytes:
    """CRC-64-AVRO of the canonical form, 8 bytes little-endian, as single-object encoding carries it."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(definition), "CRC-64-AVRO"))


def expanded(node: Any, names: dict[str, Any] | None = None, namespace: str = "") -> Any:
    """``node`` with every named type written out, with its namespace, wherever it is used.

    A record inside itself is a UserMistake.
    """
    names = {} if names is None else names
    if isinstance(node, str):
        return node if node in PRIMITIVES else _named(node, names, namespace)
    if isinstance(node, list):
        return [expanded(item, names, namespace) for item in node]
    if isinstance(node["type"], dict | list):
        return expanded(node["type"], names, namespace)
    if "name" not in node:
        return {k: expanded(v, names, namespace) if k in ("items", "values") else v for k, v in node.items()}
    namespace, _, short = full_name(node, namespace).rpartition(".")
    names[f"{namespace}.{short}"] = None
    made = node | {"namespace": namespace, "name": short}
    if "fields" in node:
        made["fields"] = [item | {"type": expanded(item["type"], names, namespace)} for item in node["fields"]]
    names[f"{namespace}.{short}"] = made
    return made


def full_name(schema: Schema, namespace: str = "") -> str:
    """``namespace.Name`` of a named type that is defined inside ``namespace``."""
    name = str(schema.get("name", ""))
    return name if "." in name else f"{schema.get('namespace', namespace)}.{name}"


def _named(name: str, names: dict[str, Any], namespace: str) -> Any:
    full = name if "." in name else f"{namespace}.{name}"
    if full not in names:
        raise UserMistake(f"a schema uses the type {full}, which is not defined before")
    if names[full] is None:
        raise UserMistake(f"the record {full} contains itself; a message schema must be finite")
    return names[full]


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
    for fault in mark_faults(schema):
        raise UserMistake(f"{path}: field {fault.field}: {fault.error}")
    if path.parent.name == COMMON and any(marked_fields(schema)):
        raise UserMistake(f"{path}: only fields of a payload can be confidential")
    expected = f"{path.parent.name}{'' if path.parent.name == COMMON else '.payload'}.{_identify(path)[1]}"
    if full_name(schema) != expected:
        raise UserMistake(f"{path}: the record is named {full_name(schema)}, expected {expected}")
    return schema


def _common_records(raw: dict[tuple[str, str], dict[int, tuple[Path, Schema]]]) -> dict[str, list[Schema]]:
    """What another file may name: every version of the common records, oldest first."""
    return {
        f"{COMMON}.{name}": [found[version][1] for version in sorted(found)]
        for (folder, name), found in raw.items()
        if folder == COMMON
    }


def _reached(node: Any, common: dict[str, list[Schema]], under: frozenset[str] = frozenset()) -> set[str]:
    """Names of the common records that ``node`` uses, itself or through another one."""
    if isinstance(node, str):
        if node not in common or node in under:
            return set()
        return {node}.union(*(_reached(schema, common, under | {node}) for schema in common[node]))
    if isinstance(node, list):
        return set().union(*(_reached(item, common, under) for item in node))
    if isinstance(node, dict):
        return set().union(*(_reached(node[key], common, under) for key in _NESTED if key in node))
    return set()


def _inline(node: Any, names: dict[str, Schema], used: set[str]) -> Any:
    if isinstance(node, str) and node in names and node not in used:
        used.add(node)
        return _inline(names[node], names, used)
    if isinstance(node, list):
        return [_inline(item, names, used) for item in node]
    if isinstance(node, dict):
        return {k: _inline(v, names, used) if k in _NESTED else v for k, v in node.items()}
    return node


def _compose(integration: str, type_name: str, parts: tuple[tuple[int, Schema], ...]) -> EventSchema:
    seen: dict[str, Schema] = {}
    fields = [
        {"name": name, "type": _defined_once(definition, seen)}
        for name, (_, definition) in zip(("header", "payload", "metadata"), parts, strict=True)
    ]
    definition = {"type": "record", "namespace": integration, "name": type_name, "fields": fields}
    header, payload, metadata = (version for version, _ in parts)
    return EventSchema((header, payload, metadata), definition, schema_fingerprint(definition))


def _defined_once(node: Any, seen: dict[str, Schema]) -> Any:
    """Avro lets a named type be defined once; a common record that two parts use is named where it comes again."""
    if isinstance(node, list):
        return [_defined_once(item, seen) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("namespace") == COMMON and "name" in node:
        if seen.get(full_name(node)) == node:
            return full_name(node)
        seen[full_name(node)] = node
    return {k: _defined_once(v, seen) if k in _NESTED else v for k, v in node.items()}
