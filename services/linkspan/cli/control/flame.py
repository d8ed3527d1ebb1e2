"""``linkspan profiling flame``: where a process on this machine spends its time, by py-spy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def flame(
    pid: Annotated[int, typer.Argument(help="Process id; a replica's name has it in its middle.", show_default=False)],
    *,
    seconds: Annotated[int, typer.Option(min=1, max=600, help="How long it is watched.")] = 10,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="SVG for a browser; .speedscope.json for speedscope.", dir_okay=False)
    ] = Path("flame.svg"),
    rate: Annotated[int, typer.Option(min=1, max=1000, help="Samples a second.")] = 100,
    idle: Annotated[bool, typer.Option("--idle", help="Also threads that wait.")] = False,
) -> None:
    """Draw a flame graph of a process on this machine, from outside; it needs the right to trace it.

    Nothing has to be enabled, and the process runs on meanwhile.
    """
    import subprocess

    from linkspan.kernel.errors import UserMistake

    form = "speedscope" if output.suffix == ".json" else "flamegraph"
    asked = ["record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(rate), "--nonblocking"]
    options = [*asked, "--format", form, "--output", str(output), *(["--idle"] if idle else [])]
    done = subprocess.run([_py_spy(), *options], check=False, capture_output=True, text=True)  # noqa: S603 - as asked
    if done.returncode or not output.exists():
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise UserMistake(f"process {pid} cannot be watched: {said[0].strip() if said else 'py-spy said nothing'}")
    typer.echo(f"wrote {output}")


def _py_spy() -> str:
    """Of this environment, or on the PATH. Raises UserMistake."""
    import shutil
    import sys

    from linkspan.kernel.errors import UserMistake

    found = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if found is None:
        raise UserMistake("flame needs the program py-spy: install it with pip install 'linkspan[profiling]'")
    return found
