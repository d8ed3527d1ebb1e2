"""``linkspan keyring``: the keys that encrypt what is stored."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from linkspan.ingress.flows import flow_intakes
from linkspan.kernel.config import Settings, read_settings
from linkspan.kernel.crypto.keyring import OLD, Keyring
from linkspan.kernel.crypto.keyring_file import rotate
from linkspan.kernel.crypto.secret_text import seal_text
from linkspan.kernel.crypto.start import blob_store
from linkspan.kernel.crypto.vault import OPENS_FOR, SEALS_FOR, Vault
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.objects import Away
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, load_integration

keyring_app = typer.Typer(no_args_is_help=True, help="Keys of the encryption at rest.")
File = Annotated[
    Path | None, typer.Option("--file", help="The keyring; LINKSPAN_KEYRING by default.", show_default=False)
]
#: A replica may have read its keys right before they were retired.
_SLACK = 2.0


@keyring_app.command("rotate")
def rotate_keyring(file: File = None) -> None:
    """Add a key, which wraps data keys from now on; older ones still unwrap. Makes the file where there is none."""
    path = _path(file)
    is_new = not path.exists()
    made = rotate(path)
    typer.echo(f"{'made' if is_new else 'rotated'} {path}: key {made.id} wraps from now on")


@keyring_app.command("list")
def list_keyring(file: File = None) -> None:
    """Show ids and ages, never keys. Warns when the newest is older than 90 days."""
    keyring, now = Keyring(_path(file)), datetime.now(UTC)
    keys = keyring.keys.keys
    for entry in reversed(keys):
        use = "wraps" if entry is keys[-1] else "unwraps"
        typer.echo(
            f"{entry.id}  {use:7}  {entry.created.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}  {entry.age(now).days} days"
        )
    if keys[-1].age(now) > OLD:
        typer.echo(f"the newest key is older than {OLD.days} days: linkspan keyring rotate", err=True)


@keyring_app.command("seal")
def seal(file: File = None) -> None:
    """Read a secret from standard input, and print what an integration file may have instead of it.

    For api_key and client_secret, in the file or in the variable that they are taken from.
    """
    secret = sys.stdin.readline().rstrip("\r\n")
    if not secret:
        raise UserMistake("give the secret on standard input: linkspan keyring seal < secret.txt")
    typer.echo(seal_text(secret, Keyring(_path(file))))


@keyring_app.command("shred")
def shred(
    file: Annotated[Path, typer.Argument(help="The integration file.")] = Path("integration.yaml"),
    flow: Annotated[str, typer.Option(help="A flow that the entity's messages take.")] = "",
    key: Annotated[str, typer.Option(help="The entity: the flow's key, or the message id where it has none.")] = "",
    *,
    confirm: Annotated[bool, typer.Option("--confirm", help="Really: nobody can undo it.")] = False,
) -> None:
    """Delete the data keys of an entity: what was encrypted of it, in all flows, can never be read again.

    Exit code 1: without --confirm, which only says what would be deleted.
    """
    integration = load_integration(file, os.environ)
    vault, name = _vault(integration), _key(integration, flow, key)
    if not confirm:
        typer.echo(f"would shred everything encrypted of {name} in {integration.integration}; say --confirm")
        raise typer.Exit(1)
    try:
        count = asyncio.run(_shred(vault, name))
    except Away as error:
        raise UserMistake(f"the blob store cannot be changed: {error}; run it again") from error
    typer.echo(
        f"shredded {name}: {count} data key{'' if count == 1 else 's'} deleted; "
        f"no process can read what they encrypted after {OPENS_FOR:g} s"
    )


async def _shred(vault: Vault, key: str) -> int:
    names = await vault.retire(key)
    if names:
        typer.echo(f"waiting {SEALS_FOR + _SLACK:g} s, until nothing is encrypted with them any more", err=True)
        await asyncio.sleep(SEALS_FOR + _SLACK)
    await vault.shred(key, names)
    return len(names)


def _vault(integration: Integration) -> Vault:
    settings: Settings = read_settings()
    if settings.linkspan_keyring is None:
        raise UserMistake("LINKSPAN_KEYRING is not set: without the keyring the entity cannot be found")
    vault = blob_store(settings.blobs, settings.linkspan_keyring, integration.integration).vault
    assert vault is not None  # noqa: S101 - there is a keyring
    return vault


def _key(integration: Integration, flow: str, key: str) -> str:
    if flow not in integration.flows:
        raise UserMistake(f"--flow {flow or '(none)'}: there are {', '.join(integration.flows)}")
    if not key:
        raise UserMistake("--key: say whose data keys are to be deleted")
    return next(one for one in flow_intakes(integration, catalog_for(integration)) if one.name == flow).lane(key)


def _path(file: Path | None) -> Path:
    path = file or read_settings().linkspan_keyring
    if path is None:
        raise UserMistake("say which keyring: --file, or LINKSPAN_KEYRING")
    return path
