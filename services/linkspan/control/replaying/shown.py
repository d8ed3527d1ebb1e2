"""Replays as messages of the API."""

from __future__ import annotations

from collections import Counter

from google.protobuf.duration_pb2 import Duration

from linkspan.control.replaying.progress import CONFIRMATION, Progress
from linkspan.control.replays import Phase, Replay
from linkspan.control.shown import timestamp
from linkspan.control.v1 import replays_pb2 as pb
from linkspan.replay.account import Proof


def replay_message(replay: Replay, progress: Progress) -> pb.Replay:
    """Of one that was started."""
    options, started, stopped = replay.options, replay.started, replay.stopped
    return pb.Replay(
        plan=replay.plan,
        flow=replay.flow,
        phase=phase_of(replay, progress.waits),
        by=started.by if started else "",
        reason=started.reason if started else "",
        started=timestamp(started.at) if started else None,
        ended=timestamp(replay.ended_at) if replay.ended_at is not None else None,
        records=replay.head.records,
        to_send=replay.head.to_send(options),
        dispositions=progress.dispositions,
        finished=progress.finished,
        in_flight=progress.in_flight,
        failed=progress.failed,
        rate=progress.rate,
        rate_limit=replay.rate,
        remaining=None if progress.remaining is None else _duration(progress.remaining),
        waits=progress.waits,
        ended_reason=stopped.reason if stopped else "",
        ended_by=stopped.by if stopped else "",
        to=options.to,
        force=options.force,
        allow_superseded=options.allow_superseded,
        as_of=options.as_of,
    )


def proof_message(proof: Proof, told: Counter[str]) -> pb.ReplayProof:
    """``told``: the dispositions that the owners said."""
    return pb.ReplayProof(
        once=proof.once,
        none=proof.none,
        repeated_dispositions=proof.repeats,
        strays=proof.strays,
        list_unchanged=proof.unchanged,
        dispositions=proof.dispositions,
        proven=proof.proven and +proof.dispositions == +told,
    )


def phase_of(replay: Replay, waits: str = "") -> pb.ReplayPhase.ValueType:
    phase = replay.phase
    if phase is Phase.RUNNING and not replay.confirmed and waits == CONFIRMATION:
        return pb.REPLAY_PHASE_CANARY
    return pb.ReplayPhase.Value(f"REPLAY_PHASE_{phase.upper()}")


def _duration(seconds: float) -> Duration:
    made = Duration()
    made.FromMicroseconds(round(seconds * 1e6))
    return made
