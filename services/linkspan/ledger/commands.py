"""``linkspan ledger rebuild`` and ``linkspan ledger digest``."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from linkspan.kernel.config import read_settings
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.timing import Timing
from linkspan.kernel.lifecycle import calm_collector
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.tls.plain import check_encrypted
from linkspan.ledger.follow import Follower
from linkspan.ledger.rebuild import Rebuild, Rebuilt, Say
from linkspan.ledger.settings import LedgerSettings
from linkspan.readmodel.away import DatabaseAway
from linkspan.readmodel.database import Database, live_build, open_database
from linkspan.readmodel.digest import Digest, digest_of

File = Annotated[Path, typer.Argument(help="The integration file.")]


def kafka_clients(settings: LedgerSettings) -> KafkaClients:
    return KafkaClients(settings.kafka, settings.kafka_security, timing=Timing(settings.linkspan_session_seconds))


def _opened(file: Path) -> tuple[LedgerSettings, Integration, Database]:
    settings: LedgerSettings = read_settings(LedgerSettings)
    integration = load_integration(file, os.environ)
    check_encrypted(settings, integration)
    return settings, integration, open_database(settings.database(integration.integration))


def rebuild(
    file: File = Path("integration.yaml"),
    *,
    restart: Annotated[bool, typer.Option(help="Begin anew, also where an earlier one was interrupted.")] = False,
    verify: Annotated[
        bool,
        typer.Option(help="Compare with the live ledger before taking over; live folding waits meanwhile."),
    ] = False,
) -> None:
    """Fold everything again from the start of Kafka, beside the live ledger, and take over when it is there.

    Interrupted, the next one goes on. Exit code 1: with --verify, the content was not the same.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    calm_collector()
    settings, integration, database = _opened(file)
    clients, catalog = kafka_clients(settings), catalog_for(integration)

    def make(build: int) -> Follower:
        return Follower(clients, integration, catalog, database, build)

    began = time.monotonic()
    with _Shown() as say:
        work = Rebuild(database, integration.integration, make, say)
        rebuilt = uvloop.run(work.run(restart=restart, verify=verify))
    seconds = time.monotonic() - began
    rate = f"{rebuilt.records / max(seconds, 1e-9):,.0f} a second"
    typer.echo(f"build {rebuilt.build} is live: {rebuilt.records} records folded in {seconds:.1f} s, {rate}")
    _remove_old(work)
    if rebuilt.after is not None and not _say_same(rebuilt):
        raise typer.Exit(1)


def _remove_old(work: Rebuild) -> None:
    try:
        asyncio.run(work.clean())
    except DatabaseAway as error:
        typer.echo(f"what it replaced is not removed ({error}); linkspan ledger does so later")


def _say_same(rebuilt: Rebuilt) -> bool:
    before, after = rebuilt.before, rebuilt.after
    if before is None or after is None:
        return True
    if rebuilt.same:
        typer.echo(f"the content is the same as before: {after.messages} messages, digest {after.digest}")
        return True
    typer.echo(f"the content is NOT the same: digest {before.digest} before, {after.digest} now")
    olds = {(one.flow, one.partition): one for one in before.streams}
    for one in after.streams:
        old = olds.get((one.flow, one.partition))
        if old is None or old != one:
            where = f"{one.flow or 'conversations'}[{one.partition}]"
            was = "was not there" if old is None else f"{old.messages} messages at {old.events}, {old.outcomes}"
            typer.echo(f"{where}: {was}; now {one.messages} at {one.events}, {one.outcomes}")
    return False


class _Shown:
    """A bar on a terminal; elsewhere a line every few seconds."""

    _EVERY = 5.0

    def __init__(self) -> None:
        console = Console()
        columns = (TextColumn("folding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console) if console.is_terminal else None
        self._task = self._bar.add_task("", total=None) if self._bar else None
        self._said = 0.0

    def __enter__(self) -> Say:
        if self._bar:
            self._bar.start()
        return self._say

    def __exit__(self, *_error: object) -> None:
        if self._bar:
            self._bar.stop()

    def _say(self, folded: int, left: int) -> None:
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=folded, total=folded + left)
        elif time.monotonic() - self._said >= self._EVERY:
            self._said = time.monotonic()
            typer.echo(f"{folded} records folded, {left} to go")


def digest(
    file: File = Path("integration.yaml"),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="With every partition's.")] = False,
) -> None:
    """Print a digest of what the ledger says, and how far it is folded: the same content has the same digest."""
    _, _, database = _opened(file)
    found = _digest(database)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2))
        return
    for one in found.streams:
        where = f"{one.flow or 'conversations'}[{one.partition}]"
        typer.echo(f"{where}: {one.messages} messages, events below {one.events}, outcomes below {one.outcomes}")
    typer.echo(f"build {found.build}: {found.messages} messages, digest {found.digest}")


def _digest(database: Database) -> Digest:
    missing = database.missing()
    if missing:
        raise UserMistake(missing)
    try:
        with database.reading() as connection:
            build = live_build(connection)
            if build is None:
                raise UserMistake("the ledger has not begun; linkspan ledger fills it")
            return digest_of(connection, build)
    except DatabaseAway as error:
        raise UserMistake(f"the database does not answer: {error}") from error
