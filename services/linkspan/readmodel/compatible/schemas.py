"""The schemas that are in use, against the ones that this version has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from linkspan.kernel.evolution.compare import incompatible
from linkspan.kernel.evolution.released import violations
from linkspan.kernel.evolution.resolve import unreadable
from linkspan.kernel.kafka.published import own_schemas
from linkspan.kernel.schemas import COMMON, Schema, SchemaCatalog, full_name, schema_fingerprint
from linkspan.kernel.spec import Integration
from linkspan.readmodel.compatible.finding import Finding


def released(catalog: SchemaCatalog, folders: Iterable[Path]) -> Iterator[Finding]:
    """Of the files alone: nothing released is gone or edited, and all versions read each other."""
    for folder in folders:
        for line in violations(catalog, folder):
            yield Finding("schemas", line)
    for line in incompatible(catalog):
        yield Finding("schemas", line)


def published(catalog: SchemaCatalog, integration: Integration, found: Mapping[bytes, Schema]) -> Iterator[Finding]:
    """``found``: what stands in the topic ``schemas``, by fingerprint."""
    types = {flow.type for flow in integration.flows.values()}
    newest = {full_name(one): one for one in own_schemas(catalog, integration.integration, types)}
    known = _known(catalog, integration.integration, types)
    for fingerprint, schema in sorted(found.items(), key=lambda one: full_name(one[1])):
        if fingerprint not in known:
            yield from _foreign(full_name(schema), fingerprint, schema, newest.get(full_name(schema)))


def _known(catalog: SchemaCatalog, integration: str, types: Iterable[str]) -> set[bytes]:
    common = {
        schema_fingerprint(variant)
        for folder, name in catalog.parts()
        if folder == COMMON
        for part in catalog.versions(folder, name)
        for variant in part.variants
    }
    return common | {one.fingerprint for name in types for one in catalog.events(integration, name)}


def _foreign(name: str, fingerprint: bytes, schema: Schema, own: Schema | None) -> Iterator[Finding]:
    if own is None:
        what = f"records of it ({fingerprint.hex()}) are of another version, and mean nothing to this one"
        yield Finding(name, what, stops=False)
        return
    faults = unreadable(schema, own, name)
    for fault in faults:
        yield Finding(name, f"this version cannot read what another one writes ({fingerprint.hex()}): {fault.error}")
    if not faults:
        what = f"another version writes it with a schema ({fingerprint.hex()}) that this one reads, and does not have"
        yield Finding(name, what, stops=False)
