"""The replays of one flow in this process: which one is active, who works on it, and what they have in common."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

import structlog

from linkspan.control.commands import Commands
from linkspan.control.errors import Away
from linkspan.control.replays import Replay
from linkspan.control.tail import ControlTail
from linkspan.egress.partition.effect import Record
from linkspan.egress.prepare import Preparation
from linkspan.egress.record.outcome import OutcomeWriter
from linkspan.egress.resend import Resend
from linkspan.egress.run import Made, MakeTarget, Run, Sender
from linkspan.kernel.codec import Datum
from linkspan.kernel.commands import REPLAY_ABORT, REPLAY_PART_DONE, TRANSFORM, Command
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.records.plan import DISPOSITIONS, PartDone, PlanCodec
from linkspan.kernel.telemetry.metrics import REPLAY_ACTIVE, REPLAY_RECORDS

log = structlog.get_logger()

#: What no answer and no command tells is looked at so often, seconds.
_LOOK = 0.25
#: A command that Kafka did not take is given again after so many seconds.
_AGAIN = 1.0
BY = "egress"

Make = Callable[[str, str, str], tuple[Preparation, OutcomeWriter]]
"""Of (text of the transform, empty: today's; destination; plan). Raises UserMistake."""


class FlowReplays:
    """``others``: fresh status records of the other replicas. ``run`` until cancelled, then ``close``."""

    def __init__(
        self,
        flow: str,
        tail: ControlTail,
        commands: Commands,
        codec: PlanCodec,
        resend: Resend,
        target: MakeTarget,
        make: Make,
    ) -> None:
        self._flow, self._tail, self._commands, self.codec = flow, tail, commands, codec
        self._resend, self._target, self._make = resend, target, make
        self._workers: list[Sender] = []
        self._run: Run | None = None
        self._starting = asyncio.Lock()
        self._aborting: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = {kind: REPLAY_RECORDS.labels(flow, kind) for kind in DISPOSITIONS}
        self._active = REPLAY_ACTIVE.labels(flow)
        self.others: Callable[[], list[Datum]] = list
        resend.failed_one = self._look
        tail.watch(lambda _state: self._changed())  # also when all of the topic is known

    @property
    def active(self) -> Replay | None:
        return self._tail.state.replays.active(self._flow) if self._tail.caught_up.is_set() else None

    def _changed(self) -> None:
        if self._run is not None:
            self._run.refresh()
        for worker in self._workers:
            worker.wake()
        self._resend.wake()

    def join(self, worker: Sender) -> None:
        self._workers.append(worker)

    def leave(self, worker: Sender) -> None:
        if worker in self._workers:
            self._workers.remove(worker)

    async def begin(self, replay: Replay) -> Run:
        """The run that all parts here share. Raises UserMistake where it cannot be."""
        async with self._starting:
            if self._run is not None and self._run.replay is replay:
                return self._run
            await self._end_run()
            options = replay.options
            to = options.to if replay.stopped is None else ""
            made = self._made(replay, to)
            target = self._target(to)
            if not target.own:
                target.adapter.wake = self._resend.wake
                await target.adapter.open()
            self._run = self._resend.run = Run(replay, target, made)
            self._active.set(1)
            log.info("replay", flow=self._flow, plan=replay.plan, to=target.name)
            return self._run

    def _made(self, replay: Replay, to: str) -> Made:
        made = {"": self._make("", to, replay.plan)}
        if replay.options.as_of and replay.stopped is None:
            for name in replay.head.transforms:
                text = self._tail.state.transforms.get((self._flow, name))
                if text is None:
                    raise UserMistake(f"the text of the transform {name} is not known: replay it by today's")
                made[name] = self._make(text, to, replay.plan)
        return made

    async def _end_run(self) -> None:
        run, self._run, self._resend.run = self._run, None, None
        self._active.set(0)
        if run is not None and not run.target.own:
            await run.target.adapter.close()

    def ended(self, effect: Record, counts: Mapping[str, int] | None) -> None:
        """An outcome stands in the log: of one record, or of ``counts`` in its range."""
        ended = counts if counts is not None else Counter([effect.kind])
        for kind, count in ended.items():
            if kind in self._ended:
                self._ended[kind].inc(count)

    def status(self) -> list[Datum]:
        run = self._run
        return [run.status()] if run is not None and run.parts else []

    def _look(self) -> None:
        run = self._run
        if run is None or not run.goes or not run.parts:
            return
        reason = run.must_end(self.others())
        if reason is not None:
            self.abort(run.replay, reason)

    def abort(self, replay: Replay, reason: str) -> None:
        """Nothing new is attempted from now on; that it is aborted is a command, which all replicas obey."""
        run = self._run
        if run is not None and run.replay is replay:
            run.aborting = True
            run.refresh()
        if replay.plan in self._aborting or replay.stopped is not None:
            return
        self._aborting.add(replay.plan)
        log.error("replay aborted", flow=self._flow, plan=replay.plan, reason=reason)
        task = asyncio.create_task(self._abort(replay, reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _abort(self, replay: Replay, reason: str) -> None:
        while replay.active and replay.stopped is None:
            if await self._give(Command(REPLAY_ABORT, self._flow, by=BY, reason=reason[:1_000], plan=replay.plan)):
                break
        self._aborting.discard(replay.plan)

    async def part_done(self, replay: Replay, partition: int, done: PartDone) -> None:
        """Says so once; whether it is known then, the fold says."""
        account = ", ".join(f"{count} {kind}" for kind, count in sorted(done.dispositions.items()) if count)
        log.info("a part of a replay is done", flow=self._flow, partition=partition, plan=replay.plan, account=account)
        await self._give(
            Command(REPLAY_PART_DONE, self._flow, partition, by=BY, reason=account, plan=replay.plan, body=done)
        )

    async def _tell_transform(self, name: str, text: str) -> None:
        """So that each hash that outcomes name has its text; a replay by the transform of then needs it."""
        await self._tail.caught_up.wait()
        while (self._flow, name) not in self._tail.state.transforms:
            reason = "delivers from now on"
            if await self._give(Command(TRANSFORM, self._flow, by=BY, reason=reason, value=name, body=text)):
                break

    async def _give(self, command: Command) -> bool:
        """False where Kafka did not take it, or was too slow to say."""
        try:
            await self._commands.give([command])
        except Away as error:
            log.warning("a command waits for Kafka", kind=command.kind, flow=self._flow, reason=str(error))
            await asyncio.sleep(_AGAIN)
            return False
        return True

    async def run(self, name: str, text: str) -> None:
        """What nobody tells: how old live events are, that a breaker opened, that a run is over. First says the
        transform that delivers from now on, by its hash and its text."""
        await self._tell_transform(name, text)
        while True:
            await asyncio.sleep(_LOOK)
            run = self._run
            if run is None:
                continue
            if not run.replay.active and not run.parts:
                async with self._starting:
                    await self._end_run()
                continue
            self._look()
            self._resend.wake()

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await self._resend.close()
        await self._end_run()
        await self._commands.close()
