"""Our own things as messages of the API."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from linkspan.control.trail import Given
from linkspan.control.v1 import commands_pb2 as pb
from linkspan.kernel.commands import (
    DISCARD,
    FLUSH,
    ISSUE_KEY,
    LOG_LEVEL,
    PROFILING,
    REDRIVE,
    REFUSED,
    REVOKE_KEY,
    ROLLOUT_KINDS,
    TRANSFORM,
    Command,
)
from linkspan.kernel.records.api_key import ApiKey
from linkspan.kernel.records.rollout import RolloutPlan


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
            return "profiling"
        case kind if kind == REFUSED:
            return command.value
        case kind if kind == TRANSFORM:
            return f"transform {command.value} of {command.flow}"
        case kind if kind in (ISSUE_KEY, REVOKE_KEY):
            return f"key {command.value}{f' for {command.body.name}' if isinstance(command.body, ApiKey) else ''}"
    return _target(command)


def _rollout(command: Command) -> str:
    if isinstance(command.body, RolloutPlan):
        return f"rollout from {command.body.before} to {command.body.to}"
    return f"rollout {command.plan}{f' to {command.value} %' if command.value else ''}"


def _target(command: Command) -> str:
    if command.kind in ROLLOUT_KINDS:
        return _rollout(command)
    if command.plan:
        where = f" partition {command.partition}" if command.partition >= 0 else ""
        return f"replay {command.plan}{where}"
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
