"""``linkspan archive``: its commands."""

from __future__ import annotations

import typer

from linkspan.cli.archive.look import list_archive, verify
from linkspan.cli.archive.restore import restore
from linkspan.cli.archive.run import run

archive = typer.Typer(no_args_is_help=True, help="Keep what topics had for longer than Kafka does, and bring it back.")
archive.command("run")(run)
archive.command("list")(list_archive)
archive.command("verify")(verify)
archive.command("restore")(restore)
