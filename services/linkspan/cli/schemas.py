"""``linkspan schemas``: whether every released version still reads, and the lock that keeps it as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.evolution.compare import incompatible
from linkspan.kernel.evolution.released import LOCK, release, unreleased, violations
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas

schemas_app = typer.Typer(no_args_is_help=True, help="Check and release schema versions.")
Root = Annotated[
    Path | None,
    typer.Option("--root", help="Folder of <folder>/<Name>.<version>.avsc files; by default Linkspan's own."),
]


@schemas_app.command("check")
def check_schemas(root: Root = None) -> None:
    """Prove that all versions read each other, and that no released one was changed. Exit code 1 where not."""
    folder, catalog = _open(root)
    wrong = [*violations(catalog, folder), *incompatible(catalog)]
    for line in wrong:
        typer.echo(line)
    new = unreleased(catalog, folder)
    if new:
        typer.echo(f"not released yet: {', '.join(new)}")
    if wrong:
        raise typer.Exit(1)
    count = sum(len(catalog.versions(*part)) for part in catalog.parts())
    typer.echo(f"{count} versions of {len(list(catalog.parts()))} schemas read each other")


@schemas_app.command("release")
def release_schemas(root: Root = None) -> None:
    """Add new versions to released.lock; from then on they cannot be edited. Exit code 1 where a check fails."""
    folder, catalog = _open(root)
    wrong = [*violations(catalog, folder), *incompatible(catalog)]
    for line in wrong:
        typer.echo(line)
    if wrong:
        raise typer.Exit(1)
    for name in release(catalog, folder):
        typer.echo(f"released {name}")
    typer.echo(f"{folder / LOCK} is up to date")


def _open(root: Path | None) -> tuple[Path, SchemaCatalog]:
    folder = root or packaged_schemas()
    if not folder.is_dir():
        raise UserMistake(f"there is no folder {folder}")
    roots = [folder] if any(folder.glob("linkspan/*.avsc")) else [packaged_schemas(), folder]
    catalog = SchemaCatalog(*roots)
    if not any(True for _ in catalog.parts()):
        raise UserMistake(f"{folder}: no schema files (<folder>/<Name>.<version>.avsc)")
    return folder, catalog
