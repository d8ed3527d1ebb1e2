"""Our own things as messages of the API."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from linkspan.control.trail import Given
from linkspan.control.v1 import commands_pb2 as pb
from linkspan.kernel.commands import DISCARD, FLUSH, LOG_LEVEL, PROFILING, REDRIVE, REFUSED, Command


def timestamp(micros: int) -> Timestamp:
    """``micros``: since 1970."""
    found = Timestamp()
    found.FromMicroseconds(micros)
    return found


def subject(command: Command) -> str:
    """What it is about, in words."""
    match command.kind:
        case kind if kind in (REDRIVE, DISCARD):
            return f"letter {command.flow} {command.partition}:{command.offset}"
        case kind if kind == FLUSH:
            return f"flow {command.flow} partition {command.partition} below {command.offset}"
        case kind if kind == LOG_LEVEL:
            return f"log level {command.value}"
        case kind if kind == PROFILING:
            return f"profiling {command.value}"
        case kind if kind == REFUSED:
            return command.value
    return f"flow {command.flow}" if command.flow else f"destination {command.destination}"


def command(given: Given) -> pb.Command:
    one = given.command
    return pb.Command(
        offset=given.offset,
        id=one.id,
        kind=one.kind,
        by=one.by,
        role=one.role,
        reason=one.reason,
        at=timestamp(one.at),
        subject=subject(one),
        result=given.verdict.result,
        effective=given.verdict.effective,
    )
