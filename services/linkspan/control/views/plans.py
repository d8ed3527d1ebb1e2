"""Plans of replays: what is asked for, made by a process of its own, frozen by a command."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing

import msgspec

from linkspan.control.actions import flow_of, reason_of
from linkspan.control.commands import Commands
from linkspan.control.errors import Away, BadRequest, Precondition
from linkspan.control.identity import caller
from linkspan.control.replays import Phase, Replay
from linkspan.control.tail import ControlTail
from linkspan.control.v1 import messages_pb2
from linkspan.control.v1 import replays_pb2 as pb
from linkspan.control.views.times import duration, micros_of, timestamp
from linkspan.kernel.commands import PLAN_FROZEN, Command
from linkspan.kernel.errors import Fault
from linkspan.kernel.message import new_id, now_micros
from linkspan.kernel.records.plan import PlanCodec, ReplayOptions
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.replay.compared import Sample
from linkspan.replay.process import PlannerEnded, Planners, TooManyEvents, TooManyPlans
from linkspan.replay.report import Report
from linkspan.replay.selection import MOST_SAMPLES, OffsetSpan, Selection, faults
from linkspan.replay.wire import Frozen, OldList, PlanJob, Progress

_SAMPLES = 5
#: A list stays so long after its replay ended, microseconds (delivery.md: 30 days).
_KEPT = 30 * 86_400 * 1_000_000
_STATUS = "MESSAGE_STATUS_"
_USUAL = ReplayOptions()
_FORCED, _FORCED_ALL = ReplayOptions(force=True), ReplayOptions(force=True, allow_superseded=True)


class Plans:
    """``rate``: messages a second that a flow delivered of late, 0 where that is not known."""

    def __init__(
        self,
        integration: Integration,
        catalog: SchemaCatalog,
        commands: Commands,
        tail: ControlTail,
        planners: Planners,
        rate: Callable[[str], Awaitable[float]],
    ) -> None:
        self._integration, self._commands, self._tail = integration, commands, tail
        self._planners, self._rate, self._codec = planners, rate, PlanCodec(catalog)

    async def plan_replay(self, request: pb.PlanReplayRequest) -> AsyncIterator[pb.PlanReplayResponse]:
        """Raises BadRequest, NotFound, Away, Precondition."""
        flow_of(self._integration, request.flow)
        reason, by = reason_of(request.reason), caller()
        job = await self._job(request)
        said = pb.PlanReplayResponse()
        try:
            async with aclosing(self._planners.run(job)) as answers:
                async for answer in answers:
                    if isinstance(answer, Progress):
                        said = _progress(answer)
                        yield said
                    elif isinstance(answer, Frozen):
                        head = self._codec.decode_head(answer.head)
                        frozen = Command(
                            *(PLAN_FROZEN, request.flow),
                            by=by.name,
                            role=by.role,
                            reason=reason,
                            plan=job.plan,
                            body=head,
                        )
                        await self._commands.give([frozen])
                        said.plan, said.selected = job.plan, head.records
                        said.frozen.CopyFrom(self._frozen(job.plan, answer.samples))
                        yield said
        except TooManyPlans as error:
            raise Away("TOO_MANY_PLANS", f"{error}; try again when one is ready, or ask another replica") from None
        except PlannerEnded as error:
            raise Away("PLANNER_ENDED", f"{error}; nothing was frozen: plan again") from None
        except TooManyEvents as error:
            raise Precondition("TOO_MANY_EVENTS", str(error)) from None

    def _frozen(self, plan: str, samples: tuple[Sample, ...]) -> pb.Plan:
        replay = self._tail.state.replays.get(plan)
        if replay is None:
            raise RuntimeError(f"the plan {plan} was not folded")
        made = plan_said(replay)
        made.samples.extend(_sample(one) for one in samples)
        return made

    async def _job(self, request: pb.PlanReplayRequest) -> PlanJob:
        """Raises BadRequest, Precondition."""
        asked = _selection(request)
        flow = self._integration.flows[request.flow]
        wrong = [*faults(asked, flow.partitions, self._integration.values), *_wrong_numbers(request)]
        if wrong:
            raise BadRequest(*wrong)
        texts = self._texts(request.flow)
        return PlanJob(
            self._planners.setting,
            new_id(),
            asked,
            request.samples or _SAMPLES,
            request.diff,
            request.rate or await self._rate(request.flow),
            dict(texts) if request.diff else {},
            old_lists(self._tail.state.replays, request.flow, now_micros()),
        )

    def _texts(self, flow: str) -> Mapping[str, str]:
        return {hash_: text for (name, hash_), text in self._tail.state.transforms.items() if name == flow}


def old_lists(replays: Iterable[Replay], flow: str, now: int) -> tuple[OldList, ...]:
    """``now``: microseconds since 1970."""
    over = [one for one in replays if one.flow == flow and one.over_at is not None and one.over_at < now - _KEPT]
    return tuple(OldList(one.plan, {part.partition: part.chunks for part in one.head.partitions}) for one in over)


def plan_said(replay: Replay) -> pb.Plan:
    """Without its samples, which are not kept."""
    head, report = replay.head, Report.of(replay.head)
    return pb.Plan(
        plan=replay.plan,
        flow=replay.flow,
        by=replay.frozen.by,
        reason=replay.frozen.reason,
        at=timestamp(replay.frozen.at),
        sha256=head.sha256.hex(),
        records=head.records,
        bytes=head.bytes,
        dispositions=dict(head.dispositions(_USUAL)),
        forced=dict(head.dispositions(_FORCED)),
        forced_all=dict(head.dispositions(_FORCED_ALL)),
        statuses=report.statuses,
        hours=report.hours,
        keys=[pb.KeyCount(key=one.key, count=one.count) for one in report.keys],
        distinct_keys=report.distinct_keys,
        estimated=duration(round(head.to_send(_USUAL) / report.rate * 1e6)) if report.rate > 0 else None,
        selection=head.selection,
        phase=_PHASES[replay.phase],
        predicate_failures=report.failures,
        predicate_failure=report.failure,
        scanned=report.scanned,
    )


_PHASES = {phase: pb.ReplayPhase.Value(f"REPLAY_PHASE_{phase.name}") for phase in Phase}


def _progress(one: Progress) -> pb.PlanReplayResponse:
    return pb.PlanReplayResponse(scanned=one.scanned, total=one.total, selected=one.selected)


def _selection(request: pb.PlanReplayRequest) -> Selection:
    return Selection(
        request.flow,
        micros_of(request.since) if request.HasField("since") else None,
        micros_of(request.until) if request.HasField("until") else None,
        tuple(request.keys),
        tuple(request.message_ids),
        tuple(request.correlation_ids),
        tuple(request.types),
        tuple(_status(one) for one in request.statuses),
        tuple(_status(one) for one in request.not_statuses),
        request.transform,
        request.predicate,
        tuple(OffsetSpan(one.partition, one.first, one.end) for one in request.offsets),
        request.dead_letters,
    )


def _status(one: int) -> str:
    """A number that the proto has not is its own name, which is then refused."""
    names = messages_pb2.MessageStatus.values()
    if one not in names:
        return str(one)
    return messages_pb2.MessageStatus.Name(one).removeprefix(_STATUS).lower()  # type: ignore[arg-type]


def _wrong_numbers(request: pb.PlanReplayRequest) -> list[Fault]:
    found = []
    if not 0 <= request.samples <= MOST_SAMPLES:
        found.append(Fault("samples", f"expected 1 to {MOST_SAMPLES}, or 0 for {_SAMPLES}"))
    if not (math.isfinite(request.rate) and request.rate >= 0):
        found.append(Fault("rate", "messages a second, or 0: as fast as it was of late"))
    times = [name for name in ("since", "until") if request.HasField(name) and micros_of(getattr(request, name)) < 0]
    return found + [Fault(name, "that is before 1970") for name in times]


def _sample(one: Sample) -> pb.PlanSample:
    said = msgspec.structs.asdict(one)
    return pb.PlanSample(
        **{name: value for name, value in said.items() if name != "accepted"}, accepted_at=timestamp(one.accepted)
    )
