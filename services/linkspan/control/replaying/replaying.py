"""The calls that start, watch and steer replays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from opentelemetry.trace import SpanKind

from linkspan.control.actions import reason_of
from linkspan.control.commands import Commands
from linkspan.control.errors import BadRequest, Precondition
from linkspan.control.host import Host
from linkspan.control.identity import caller
from linkspan.control.replaying.asked import asked, not_ended, started_already
from linkspan.control.replaying.dry import dry_run
from linkspan.control.replaying.known import KnownReplays
from linkspan.control.replaying.options import rate_fault
from linkspan.control.replaying.progress import ProgressView
from linkspan.control.replaying.shown import replay_message
from linkspan.control.replays import Replay
from linkspan.control.shown import command as shown
from linkspan.control.trail import Given
from linkspan.control.v1 import commands_pb2
from linkspan.control.v1 import replays_pb2 as pb
from linkspan.kernel.commands import (
    REPLAY_CANCEL,
    REPLAY_CONFIRM,
    REPLAY_PAUSE,
    REPLAY_RATE,
    REPLAY_RESUME,
    REPLAY_START,
    Command,
)
from linkspan.kernel.records.plan import SENT, PlanCodec, ReplayOptions
from linkspan.kernel.telemetry.traces import FLOW, REPLAY
from linkspan.replay.account import Run
from linkspan.replay.process import Planners
from linkspan.replay.still import Stale, check_plan


class Replaying:
    """Each call raises BadRequest, NotFound, Precondition, Away, KafkaError."""

    def __init__(
        self, host: Host, commands: Commands, known: KnownReplays, progress: ProgressView, planners: Planners
    ) -> None:
        self._host, self._commands, self._known, self._progress = host, commands, known, progress
        self._planners, self._codec = planners, PlanCodec(host.catalog)

    async def start_replay(self, request: pb.StartReplayRequest) -> AsyncIterator[pb.StartReplayResponse]:
        """What is refused is refused before anything is told to the owners."""
        reason = "" if request.dry_run else reason_of(request.reason)
        replay = await self._known.get(request.plan)
        options = asked(self._host.integration, self._known, replay, request)
        if not request.dry_run:
            self._check_free(replay)
        await self._check_log(replay, options)
        if request.dry_run:
            async for answer in dry_run(self._planners, self._codec, replay, options, self._known.texts(replay)):
                yield answer
            return
        await self._give_start(replay, options, reason)
        async for found in self._told(request.plan):
            yield pb.StartReplayResponse(plan=request.plan, sent=found.dispositions[SENT], replay=found)

    async def watch_replay(self, request: pb.WatchReplayRequest) -> AsyncIterator[pb.WatchReplayResponse]:
        """By any replica, from any moment on."""
        replay = await self._known.started(request.plan)
        if replay.started is None:
            raise Precondition("NOT_STARTED", f"plan {request.plan} was never started: there is nothing to watch")
        async for found in self._told(request.plan):
            yield pb.WatchReplayResponse(replay=found)

    async def pause(self, request: pb.PauseReplayRequest) -> commands_pb2.Command:
        return await self._steer(REPLAY_PAUSE, request.plan, request.reason)

    async def resume(self, request: pb.ResumeReplayRequest) -> commands_pb2.Command:
        return await self._steer(REPLAY_RESUME, request.plan, request.reason)

    async def set_rate(self, request: pb.SetReplayRateRequest) -> commands_pb2.Command:
        fault = rate_fault(request.rate)
        if fault is not None:
            raise BadRequest(fault)
        return await self._steer(REPLAY_RATE, request.plan, request.reason, f"{request.rate:g}")

    async def confirm(self, request: pb.ConfirmReplayRequest) -> commands_pb2.Command:
        return await self._steer(REPLAY_CONFIRM, request.plan, request.reason)

    async def cancel(self, request: pb.CancelReplayRequest) -> commands_pb2.Command:
        return await self._steer(REPLAY_CANCEL, request.plan, request.reason)

    async def _steer(self, kind: str, plan: str, reason: str, value: str = "") -> commands_pb2.Command:
        said = reason_of(reason)
        replay = await self._known.get(plan)
        return shown(await self._give(Command(kind, replay.flow, reason=said, plan=plan, value=value)))

    async def _give(self, command: Command) -> Given:
        by = caller()
        (given,) = await self._commands.give([replace(command, by=by.name, role=by.role)])
        return given

    def _check_free(self, replay: Replay) -> None:
        """The verdict on the command decides; this saves the reading."""
        if replay.started is not None:
            raise started_already(replay)
        other = self._known.active(replay.flow)
        if other is not None:
            raise not_ended(other)

    async def _check_log(self, replay: Replay, options: ReplayOptions) -> None:
        run = Run(self._host.integration.integration, replay.flow, replay.plan, replay.head, options)
        try:
            await check_plan(self._host.clients, run, self._codec)
        except Stale as error:
            raise Precondition("PLAN_STALE", f"the plan matches the log no longer: {error}; plan again") from error

    async def _give_start(self, replay: Replay, options: ReplayOptions, reason: str) -> None:
        said = {REPLAY: replay.plan, FLOW: replay.flow}
        tracing = self._host.tracing
        with tracing.span("replay", None, SpanKind.INTERNAL, said, always=True) as root:
            body = replace(options, traceparent=root.traceparent)
            given = await self._give(Command(REPLAY_START, replay.flow, reason=reason, plan=replay.plan, body=body))
        if given.verdict.effective:
            return
        other = self._known.active(replay.flow)
        if other is not None and other.plan != replay.plan:
            raise not_ended(other)
        raise started_already(await self._known.get(replay.plan))

    async def _told(self, plan: str) -> AsyncIterator[pb.Replay]:
        await self._progress.ready()
        async for replay in self._known.follow(plan):
            found = replay_message(replay, self._progress.of(replay))
            if replay.active and self._known.trouble():
                found.waits = "kafka"
            yield found
