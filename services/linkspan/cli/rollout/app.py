"""``linkspan rollout``: its commands."""

from __future__ import annotations

import typer

from linkspan.cli.rollout.start import start
from linkspan.cli.rollout.steer import finish, status, stop

rollout = typer.Typer(no_args_is_help=True, help="Let a new version take partitions over by percent, and watch it.")
rollout.command("start")(start)
rollout.command("status")(status)
rollout.command("stop")(stop)
rollout.command("finish")(finish)
