"""``linkspan replay``: its commands."""

from __future__ import annotations

import typer

from linkspan.cli.control.replay.look import list_replays, show, watch
from linkspan.cli.control.replay.plan import plan
from linkspan.cli.control.replay.run import run
from linkspan.cli.control.replay.steer import cancel, confirm, pause, rate, resume

replay = typer.Typer(no_args_is_help=True, help="Plan the replay of events of the past, run it, and prove it.")
replay.command("plan")(plan)
replay.command("run")(run)
replay.command("list")(list_replays)
replay.command("show")(show)
replay.command("watch")(watch)
replay.command("pause")(pause)
replay.command("resume")(resume)
replay.command("rate")(rate)
replay.command("confirm")(confirm)
replay.command("cancel")(cancel)
