"""Plans and replays, one or all; and the proof that each planned record ended once."""

from __future__ import annotations

import asyncio

from linkspan.control.host import Host
from linkspan.control.pages import page_size, place_of, token_of
from linkspan.control.replaying.asked import asked
from linkspan.control.replaying.known import KnownReplays
from linkspan.control.replaying.progress import ProgressView
from linkspan.control.replaying.shown import proof_message, replay_message
from linkspan.control.replays import Replay
from linkspan.control.v1 import replays_pb2 as pb
from linkspan.control.views.plans import plan_said
from linkspan.kernel.records.plan import PlanCodec
from linkspan.replay.account import Run, prove


class Replays:
    """One proof at a time: each reads a list and all outcomes since."""

    def __init__(self, host: Host, known: KnownReplays, progress: ProgressView) -> None:
        self._host, self._known, self._progress = host, known, progress
        self._codec, self._one = PlanCodec(host.catalog), asyncio.Lock()

    async def get_replay(self, request: pb.GetReplayRequest) -> pb.GetReplayResponse:
        """Raises BadRequest, NotFound, Precondition, Away, KafkaError."""
        replay = await self._known.get(request.plan)
        await self._progress.ready()
        answer = pb.GetReplayResponse(plan=plan_said(replay))
        if request.HasField("options"):
            options = asked(self._host.integration, self._known, replay, request.options)
            answer.counted.update(replay.head.dispositions(options))
        if replay.started is not None:
            answer.replay.CopyFrom(self._replay(replay))
            if request.proof:
                answer.replay.proof.CopyFrom(await self._proof(replay))
        return answer

    async def list_replays(self, request: pb.ListReplaysRequest) -> pb.ListReplaysResponse:
        """Raises BadRequest. A page begins after the plan that its token names."""
        await self._progress.ready()
        size, after = page_size(request.page_size), place_of(request.page_token, tuple[str])
        found = [one for one in self._known.newest() if request.flow in ("", one.flow)]
        plans = [one.plan for one in found]
        start = plans.index(after[0]) + 1 if after is not None and after[0] in plans else 0
        page = found[start : start + size]
        return pb.ListReplaysResponse(
            plans=[plan_said(one) for one in page],
            replays=[self._replay(one) for one in page if one.started is not None],
            next_page_token=token_of(page[-1].plan) if start + size < len(found) else "",
        )

    def _replay(self, replay: Replay) -> pb.Replay:
        return replay_message(replay, self._progress.of(replay))

    async def _proof(self, replay: Replay) -> pb.ReplayProof:
        host = self._host
        run = Run(host.integration.integration, replay.flow, replay.plan, replay.head, replay.options)
        done = {partition: part.outcomes for partition, part in replay.done.items()}
        async with self._one:
            return proof_message(await prove(host.clients, run, self._codec, done), replay.dispositions)
