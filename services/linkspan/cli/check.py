"""``linkspan check``: whether an integration file is right, and whether its examples come out as they are written."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.config import read_settings
from linkspan.kernel.errors import Fault, UserMistake
from linkspan.kernel.json_form import JsonForm
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_check import schema_faults
from linkspan.kernel.spec_export import json_schema
from linkspan.kernel.spec_file import IntegrationFile, catalog_for, read_integration
from linkspan.kernel.tls.plain import check_production
from linkspan.transform import InvalidTransform, Transform
from linkspan.transform.examples import Verdict, read_examples, run_example
from linkspan.transform.transform import compiled


def check(
    file: Annotated[Path | None, typer.Argument(help="The integration.yaml to check.", show_default=False)] = None,
    *,
    json_schema_wanted: Annotated[
        bool, typer.Option("--json-schema", help="Print the file's JSON Schema (for editors) and leave.")
    ] = False,
) -> None:
    """Check an integration file with its schemas, transforms and value tables, and run its examples.

    Exit code 0: all is well; 1: an example fails; 2: the file is not right.
    """
    if json_schema_wanted:
        typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
        return
    if file is None:
        raise UserMistake("say which file: linkspan check integration.yaml")
    found = read_integration(file, os.environ)
    check_production(read_settings(), found.integration)
    catalog = catalog_for(found.integration)
    with tempfile.TemporaryDirectory() as folder:
        transforms = _transforms(found, catalog, BlobStore(folder))
        _say_what_was_read(found.integration, transforms)
        if not _examples_hold(found, catalog, transforms):
            raise typer.Exit(1)


def _transforms(found: IntegrationFile, catalog: SchemaCatalog, blobs: BlobStore) -> dict[str, Transform]:
    faults: list[Fault] = list(schema_faults(found.integration, catalog))
    fields = {fault.field for fault in faults}
    made: dict[str, Transform] = {}
    for name in found.integration.flows:
        try:
            if fields.isdisjoint({f"flows.{name}.type", f"flows.{name}.delivers"}):
                made[name] = Transform(found.integration, name, catalog, blobs)
            else:
                compiled(found.integration, name)
        except InvalidTransform as error:
            faults += error.faults
        except UserMistake as error:
            faults.append(Fault(f"flows.{name}.type", str(error)))
    if faults:
        raise found.invalid(faults)
    return made


def _say_what_was_read(integration: Integration, transforms: dict[str, Transform]) -> None:
    typer.echo(f"integration {integration.integration}")
    for place, (name, system) in enumerate(integration.systems.items()):
        which = "AB"[place] if place < 2 else "for replays"
        typer.echo(f"  system {which}: {name}, {system.kind}, {system.url}, {system.retry.attempts} attempts")
    for name, flow in integration.flows.items():
        key = f"key {flow.key}" if flow.key else "no key"
        typer.echo(
            f"  flow {name}: {flow.type} from {flow.from_}, {transforms[name].type} to {flow.to}, {key}, "
            f"{flow.partitions} partitions, transform {transforms[name].hash}"
        )


def _examples_hold(found: IntegrationFile, catalog: SchemaCatalog, transforms: dict[str, Transform]) -> bool:
    count, failed = 0, 0
    for flow, verdict in _verdicts(found, catalog, transforms):
        count += 1
        failed += bool(verdict.differences)
        typer.echo(f"{'FAIL' if verdict.differences else 'pass'}  {flow}: {verdict.name}")
        for line in verdict.differences:
            typer.echo(f"      {line}")
    typer.echo(f"{count} example{'' if count == 1 else 's'}, {failed} failed" if count else "no examples")
    return failed == 0


def _verdicts(
    found: IntegrationFile, catalog: SchemaCatalog, transforms: dict[str, Transform]
) -> Iterator[tuple[str, Verdict]]:
    for name, flow in found.integration.flows.items():
        taken = JsonForm(catalog.latest(found.integration.integration, flow.type).definition, "input")
        for file in flow.examples:
            for example in read_examples(found.document.path.parent / file):
                yield name, asyncio.run(run_example(example, flow, taken, transforms[name]))
