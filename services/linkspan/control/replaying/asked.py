"""What a call to start a plan asks for, and whether that can be."""

from __future__ import annotations

from linkspan.control.errors import Precondition, no_such_flow
from linkspan.control.replaying.known import KnownReplays
from linkspan.control.replaying.options import check_target, options_of
from linkspan.control.replays import Replay
from linkspan.control.v1 import replays_pb2 as pb
from linkspan.kernel.records.plan import ReplayOptions
from linkspan.kernel.spec import Integration


def asked(
    integration: Integration, known: KnownReplays, replay: Replay, request: pb.StartReplayRequest
) -> ReplayOptions:
    """Without the trace that it belongs to. Raises BadRequest, NotFound, Precondition."""
    if replay.flow not in integration.flows:
        raise no_such_flow(replay.flow, integration.flows)
    options = options_of(request, replay.head)
    check_target(integration, replay.flow, options.to)
    missing = known.missing(replay) if options.as_of else []
    if missing:
        text = f"the text of {len(missing)} transforms of then was not kept: {', '.join(missing)}"
        raise Precondition("AS_OF_UNKNOWN", f"{text}; today's can be used instead")
    _check_expected(replay, options, request.expected)
    return options


def started_already(replay: Replay) -> Precondition:
    by = replay.started.by if replay.started else "somebody"
    return Precondition("ALREADY_STARTED", f"plan {replay.plan} was started already by {by}, and is {replay.phase}")


def not_ended(other: Replay) -> Precondition:
    text = f"the replay {other.plan} of {other.flow} has not ended; one at a time: wait for it, or cancel it"
    return Precondition("REPLAY_ACTIVE", text)


def _check_expected(replay: Replay, options: ReplayOptions, expected: int) -> None:
    found = replay.head.to_send(options)
    if not expected or found == expected:
        return
    reason = "MORE_THAN_EXPECTED" if found > expected else "FEWER_THAN_EXPECTED"
    raise Precondition(reason, f"{found} would be sent with these options, and {expected} were expected; look again")
