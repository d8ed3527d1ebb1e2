"""``linkspan archive run``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from linkspan.archive.main import run_on, run_once
from linkspan.archive.partition import Limits
from linkspan.archive.rounds import Round
from linkspan.cli.archive.place import Archiving, File, archiving, quiet, told
from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.cli.when import length
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.quiet import quieten_kafka_clients
from linkspan.kernel.lifecycle import calm_collector
from linkspan.kernel.telemetry.logs import configure_logs
from linkspan.kernel.tls.plain import listening

_USUAL = Limits()


def run(  # noqa: PLR0913 - its options
    file: File = Path("integration.yaml"),
    *,
    once: Annotated[bool, typer.Option("--once", help="Archive all that there is now, and end.")] = False,
    every: Annotated[str, typer.Option(help="Look so often.")] = "60s",
    age: Annotated[str, typer.Option(help="Close a segment when its oldest record is so old.")] = "10m",
    records: Annotated[int, typer.Option(help="Close a segment at so many records.", min=1)] = _USUAL.records,
    megabytes: Annotated[int, typer.Option(help="Close a segment at this size, before compression.", min=1)] = 32,
    keep: Annotated[str, typer.Option(help="Delete what is older, such as 400d; without it nothing is deleted.")] = "",
    adopt: Annotated[
        bool, typer.Option("--adopt", help="This Kafka goes on where the archived one ended, as after a restore.")
    ] = False,
    host: Annotated[str | None, typer.Option(help="Address of the operations endpoints.")] = None,
    port: Annotated[
        int, typer.Option(envvar="LINKSPAN_PORT", help="Their port; 0 chooses one.", min=0, max=65535)
    ] = 8086,
) -> None:
    """Archive what Kafka has gained: until stopped, or once.

    Goes on where the archive ends. Prints `ready http://<host>:<port>` after the first round. Exit code of --once: 1
    where something was gone from Kafka before it was archived.
    """
    made = archiving(file)
    limits = Limits(records, megabytes * 1024 * 1024, length("--age", age), _kept("--keep", keep))
    configure_logs("archive", "error" if once else made.settings.log_level)
    with told():
        if once:
            quiet()
            done = asyncio.run(run_once(made.clients, made.integration, made.store, limits, adopt=adopt))
            _show(done)
            return
        quieten_kafka_clients()
        calm_collector()
        _run_on(made, limits, length("--every", every), host or made.settings.linkspan_host, port, adopt=adopt)


def _run_on(made: Archiving, limits: Limits, every: float, host: str, port: int, *, adopt: bool) -> None:
    work = run_on(
        *(made.clients, made.integration, made.store, limits),
        every=every,
        adopt=adopt,
        where=(host, port),
        served=listening(made.settings),
        ready=lambda address: typer.echo(f"ready {address}"),
    )
    asyncio.run(work)


def _kept(option: str, text: str) -> float:
    """Seconds; 0: for ever."""
    if not text:
        return 0.0
    seconds = length(option, text)
    if seconds < 86_400:
        raise UserMistake(f"{option} {text}: an archive keeps what is younger than a day")
    return seconds


def _show(done: Round) -> None:
    """Raises CommandEnded where it is not whole."""
    standing = [one for _, one in done.standing]
    records, segments, size = (
        sum(getattr(one, name) for one in standing) for name in ("archived", "segments", "bytes")
    )
    deleted = sum(one.deleted for one in standing)
    typer.echo(
        f"archived {records} records in {segments} segments ({size:,} bytes)" + f", deleted {deleted}" * bool(deleted)
    )
    for failure in done.failed:
        typer.echo(f"{failure.kept.place.topic} {failure.kept.place.partition}: {failure.text}", err=True)
    if done.failed:
        what = {failure.what for failure in done.failed}
        code = ExitCode.NO if "damaged" in what else ExitCode.AWAY
        raise CommandEnded(f"{len(done.failed)} partitions are not archived", code)
    for kept, one in done.standing:
        if one.missed:
            typer.echo(
                f"{kept.place.topic} {kept.place.partition}: {one.missed} offsets were gone before they were archived",
                err=True,
            )
    if done.missed:
        raise CommandEnded("retention was faster than the archive: run it more often", ExitCode.NO)
