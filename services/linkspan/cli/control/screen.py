"""What a command shows: tables for people, JSON for programs; nothing but the answer on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any

import typer
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console, RenderableType

from linkspan.cli.output import Output
from linkspan.kernel.errors import UserMistake

#: Of a pipe, where nothing needs to fit: a record stays on its line.
PIPE_WIDTH = 1000
_WHOLE = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)


class Screen:
    """``utc``: times in UTC, marked Z; otherwise in this machine's zone."""

    def __init__(self, output: Output, *, utc: bool) -> None:
        self.json, self._zone = output is Output.JSON, UTC if utc else None
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")
        self.console = _console(stderr=False)
        self.aside = _console(stderr=True)

    def show(self, answer: Message, render: Callable[[], RenderableType]) -> None:
        """``render`` is asked for the table where a person looks."""
        if self.json:
            self.document(as_json(answer))
        else:
            self.print(render())

    def print(self, what: RenderableType) -> None:
        """In a pipe nothing is cut."""
        self.console.print(what, crop=self.console.is_terminal)

    def document(self, made: Any, *, indent: int | None = 2) -> None:
        typer.echo(json.dumps(made, indent=indent))

    def moment(self, at: Timestamp) -> str:
        """To the second; empty where it is not set."""
        return self._written(at, "seconds")

    def exact(self, at: Timestamp) -> str:
        """To the millisecond."""
        return self._written(at, "milliseconds")

    def clock(self, at: Timestamp) -> str:
        """To the millisecond, without the day."""
        return self.exact(at).partition(" ")[2]

    def _written(self, at: Timestamp, precision: str) -> str:
        if not at.seconds:
            return ""
        found = at.ToDatetime(UTC).astimezone(self._zone).replace(tzinfo=None)
        return found.isoformat(" ", precision) + ("Z" if self._zone else "")

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Says that something takes its time; on a terminal only."""
        if not self.aside.is_terminal:
            yield
            return
        with self.aside.status(what):
            yield

    @contextmanager
    def telling(self, what: str) -> Iterator[Callable[[str], None]]:
        """As ``busy``, with what is told meanwhile in its place."""
        if not self.aside.is_terminal:
            yield lambda _said: None
            return
        with self.aside.status(what) as shown:
            yield shown.update

    def sure(self, what: str, *, yes: bool) -> None:
        """Asks before something that cannot be taken back. Raises UserMistake, or typer.Abort for a no."""
        self.aside.print(what)
        if yes:
            return
        if not sys.stdin.isatty():
            raise UserMistake("nobody can be asked here, nothing was done: --yes goes on without asking")
        self.aside.print("go on? [y/N]", end=" ")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise typer.Abort


def as_json(answer: Message) -> dict[str, Any]:
    """Protobuf's JSON with the names of the protos; zeros are shown, and 64-bit numbers are numbers."""
    made = MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    _with_numbers(answer.DESCRIPTOR, made)
    return made


def took(duration: Duration) -> str:
    return span(duration.seconds + duration.nanos / 1e9)


def span(seconds: float) -> str:
    """At a glance: ``12 ms``, ``3.4 s``, ``48 s``, ``5 min 10 s``, ``3 h 12 min``, ``2 d 5 h``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    for size, unit, smaller, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller} {name}"
    raise AssertionError(seconds)


def number_of(count: int, thing: str) -> str:
    """``1 dead letter``, ``1,022 dead letters``."""
    return f"{count:,} {thing}" + ("" if count == 1 else "s")


def between(start: Timestamp, end: Timestamp) -> float:
    """Seconds."""
    return end.seconds - start.seconds + (end.nanos - start.nanos) / 1e9


def _console(*, stderr: bool) -> Console:
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = PIPE_WIDTH
    return made


def _with_numbers(descriptor: Any, made: dict[str, Any]) -> None:
    for field in descriptor.fields:
        found = made.get(field.name)
        if found is None:
            continue
        if field.cpp_type in _WHOLE:
            made[field.name] = [int(one) for one in found] if isinstance(found, list) else int(found)
        elif field.message_type and _ours(field.message_type):
            for one in found if isinstance(found, list) else [found]:
                _with_numbers(field.message_type, one)


def _ours(kind: Any) -> bool:
    """Neither a map's entry nor one that has a form of its own in JSON."""
    return not kind.GetOptions().map_entry and not kind.full_name.startswith("google.")
