"""A dry run: what a run would send goes through the real transform, in a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from linkspan.control.errors import Away, Precondition
from linkspan.control.replays import Replay
from linkspan.control.v1 import replays_pb2 as pb
from linkspan.kernel.records.plan import FAILED, SENT, PlanCodec, ReplayOptions
from linkspan.replay.frozen import NotAsFrozen
from linkspan.replay.process import PlannerEnded, Planners, TooManyPlans
from linkspan.replay.wire import Dry, DryJob


async def dry_run(
    planners: Planners, codec: PlanCodec, replay: Replay, options: ReplayOptions, texts: dict[str, str]
) -> AsyncIterator[pb.StartReplayResponse]:
    """``texts``: of the transforms of then, by hash. Raises Away, Precondition, KafkaAway, UserMistake."""
    head, body = codec.encode_head(replay.head), codec.encode_options(options)
    job = DryJob(planners.setting, replay.plan, replay.flow, head, body, texts)
    try:
        async with aclosing(planners.run(job)) as answers:
            async for answer in answers:
                if isinstance(answer, Dry):
                    yield _said(replay, options, answer)
    except TooManyPlans as error:
        raise Away("TOO_MANY_PLANS", f"{error}; try again when one is ready, or ask another replica") from None
    except PlannerEnded as error:
        raise Away("PLANNER_ENDED", f"{error}; a dry run sends nothing: run it again") from None
    except NotAsFrozen as error:
        raise Precondition("PLAN_STALE", f"the plan matches the log no longer: {error}; plan again") from error


def _said(replay: Replay, options: ReplayOptions, dry: Dry) -> pb.StartReplayResponse:
    found = pb.Replay(
        plan=replay.plan,
        flow=replay.flow,
        phase=pb.REPLAY_PHASE_COMPLETED if dry.finished else pb.REPLAY_PHASE_RUNNING,
        records=replay.head.records,
        to_send=replay.head.to_send(options),
        dispositions=dry.dispositions,
        finished=sum(dry.dispositions.values()),
        failed=dry.dispositions.get(FAILED, 0),
        to=options.to,
        dry_run=True,
        force=options.force,
        allow_superseded=options.allow_superseded,
        as_of=options.as_of,
    )
    errors = [pb.ReplayError(reason=reason, count=count) for reason, count in dry.errors]
    return pb.StartReplayResponse(plan=replay.plan, sent=dry.dispositions.get(SENT, 0), replay=found, errors=errors)
