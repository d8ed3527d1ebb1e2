"""``linkspan profile``: connections to control APIs under names, in the file profiles.yaml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from linkspan.cli.control.connection import addresses_in
from linkspan.cli.control.profiles import Profile, Profiles, profile_names, read_profiles, written
from linkspan.cli.output import Output
from linkspan.kernel.errors import UserMistake

profile = typer.Typer(no_args_is_help=True, help="Keep connections to control APIs under names.")
Name = Annotated[str, typer.Argument(show_default=False, autocompletion=profile_names)]


@profile.command("list")
def list_profiles(
    *, output: Annotated[Output, typer.Option("--output", "-o", help="For a person, or for a program.")] = Output.TEXT
) -> None:
    """Show them; the one in use is marked."""
    found = read_profiles()
    if output is Output.JSON:
        made = {"current": found.current, "profiles": {name: written(one) for name, one in found.by_name.items()}}
        typer.echo(json.dumps(made, indent=2))
    elif not found.by_name:
        typer.echo(f"no profiles in {found.path}; linkspan profile add makes one")
    else:
        for name, one in found.by_name.items():
            rest = "".join(f"  {field} {value}" for field, value in written(one).items() if field != "control")
            typer.echo(f"{'*' if name == found.current else ' '} {name}  {one.control}{rest}")


@profile.command("add")
def add_profile(
    name: Name,
    *,
    control: Annotated[
        str, typer.Option(metavar="HOST:PORT,…", help="Control APIs, any replicas.", show_default=False)
    ],
    token_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Holds the token.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="TLS, trusting what the system trusts.")] = False,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="TLS, trusting these certificates (PEM).")] = None,
    cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Our own certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key (PEM).")] = None,
) -> None:
    """Add one, or replace it; the first one is in use at once."""
    addresses_in(control)
    if (cert is None) != (key is None):
        raise UserMistake("--cert and --key: give both or none")
    token_file, ca, cert, key = (_there(one) for one in (token_file, ca, cert, key))
    found = read_profiles()
    found.by_name[name] = Profile(control, token_file, tls, ca, cert, key)
    found.current = found.current or name
    _write(found)


@profile.command("use")
def use_profile(name: Name) -> None:
    """Use this one where nothing else is said."""
    found = read_profiles()
    found.get(name)
    found.current = name
    _write(found)


@profile.command("remove")
def remove_profile(name: Name) -> None:
    """Forget one."""
    found = read_profiles()
    found.get(name)
    del found.by_name[name]
    found.current = None if found.current == name else found.current
    _write(found)


def _there(path: Path | None) -> Path | None:
    if path is None:
        return None
    if not path.is_file():
        raise UserMistake(f"{path}: there is no such file")
    return path.resolve()


def _write(found: Profiles) -> None:
    try:
        found.write()
    except OSError as error:
        raise UserMistake(f"{found.path}: {error.strerror}") from error
    names = ", ".join(found.by_name) or "no profiles"
    typer.echo(f"{found.path}: {names}; {found.current or 'none'} in use")
