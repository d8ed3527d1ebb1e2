"""Drives a rollout: what stands on the control topic is where it is, so any other driver goes on from there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import structlog

from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.cli.rollout.counts import Done
from linkspan.cli.rollout.look import Faults, of_egress
from linkspan.cli.rollout.place import Place, StageCounts, unaware
from linkspan.control.rollouts import WHOLE, Rollout
from linkspan.kernel.commands import ROLLOUT_SHARE, ROLLOUT_START, ROLLOUT_STOP, Command
from linkspan.kernel.errors import KafkaAway, UserMistake
from linkspan.kernel.records.rollout import RolloutPlan, portion

log = structlog.get_logger()

BY = "linkspan rollout"
#: Between two looks, seconds.
_EVERY = 1.0
#: Why a stage lasts longer than it should is said when that is so for so long, seconds.
_LATE = 10.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """``plan``: without ``before``, which follows from what runs. ``wait``: seconds for a replica of the new version;
    ``again``: also where it was stopped before."""

    plan: RolloutPlan
    by: str
    reason: str
    wait: float
    again: bool


class Driver:
    """``run``: 0 where the new version delivers all and was watched, 1 where it was stopped. Raises UserMistake,
    KafkaAway, KafkaError, and CommandEnded where outcomes are counted no more."""

    def __init__(self, place: Place, asked: Asked, say: Say) -> None:
        self._place, self._asked, self._say = place, asked, say
        self._stage: StageCounts | None = None
        self._reading: asyncio.Task[None] | None = None
        self._shown = -1
        self._missing: str | None = None

    async def run(self) -> int:
        begun = await self._begun()
        flows = {name: one.partitions for name, one in self._place.integration.flows.items() if begun.plan.covers(name)}
        faults = Faults(begun.plan, flows)
        try:
            while True:
                current = self._place.state.rollouts.current
                if current is None or current.id != begun.id:
                    self._say("finished by somebody else")
                    return 0 if begun.share >= WHOLE and begun.stopped is None else 1
                code = await self._step(current, faults, flows)
                if code is not None:
                    return code
                await asyncio.sleep(_EVERY)
        finally:
            await self._end_stage()

    async def _begun(self) -> Rollout:
        """The one that is under way, or a new one."""
        wanted = self._asked.plan
        current = self._place.state.rollouts.current
        if current is None or current.stopped is not None:
            if current is not None and current.stopped and current.plan.to == wanted.to and not self._asked.again:
                raise UserMistake(
                    f"the rollout to {wanted.to} was stopped by {current.stopped.by} ({current.stopped.reason}); "
                    "--again begins it anew, linkspan rollout finish forgets it"
                )
            await self._start(wanted)
            current = self._place.state.rollouts.current
        if current is None or current.plan.to != wanted.to:
            raise UserMistake(f"a rollout to {current.plan.to if current else '?'} is under way; stop it first")
        self._say(f"rollout from {current.plan.before} to {current.plan.to}, begun by {current.started.by}")
        return current

    async def _start(self, wanted: RolloutPlan) -> None:
        unknown = [flow for flow in wanted.flows if flow not in self._place.integration.flows]
        if unknown:
            known = ", ".join(self._place.integration.flows)
            raise UserMistake(f"--flow {unknown[0]}: there is no such flow; there are {known}")
        replicas = of_egress(await self._place.view.replicas())
        others = sorted({one["version"] for one in replicas} - {wanted.to})
        if len(others) != 1:
            what = f"they run {', '.join(others)}" if others else "there is none"
            raise UserMistake(f"egress of one version other than {wanted.to} has to deliver now; {what}")
        for flow in self._place.integration.flows:
            if wanted.covers(flow) and await unaware(self._place, flow):
                raise UserMistake(
                    f"{flow}: a replica knows no rollouts; replace it replica by replica (docs/upgrade.md)"
                )
        plan = RolloutPlan(
            wanted.to,
            others[0],
            wanted.stages,
            wanted.stay,
            wanted.watch,
            wanted.most_errors,
            wanted.patience,
            wanted.flows,
        )
        await self._place.give(Command(ROLLOUT_START, by=self._asked.by, reason=self._asked.reason, body=plan))

    async def _step(self, current: Rollout, faults: Faults, flows: dict[str, int]) -> int | None:
        if current.stopped is not None:
            self._say(f"stopped by {current.stopped.by}: {current.stopped.reason}")
            return 1
        if self._place.tail.trouble():
            faults.forget()
            return None
        if current.share == 0:
            await self._wait_for_replica(current)
            return None
        if current.share != self._shown:
            await self._new_stage(current, faults, flows)
        replicas = await self._place.view.replicas()
        if why := self._wrong(current) or faults.look(replicas, current.share, time.monotonic()):
            await self._command(current, ROLLOUT_STOP, why)
        elif self._watched(current) and not faults.some:
            return await self._passed(current)
        return None

    def _watched(self, current: Rollout) -> bool:
        """Whether its time is over, and all that was told in it is counted. Raises CommandEnded."""
        if self._stage is None or self._reading is None:
            return False
        if self._reading.done():
            self._ended(current, self._reading)
        until = current.since / 1e6 + current.plan.lasts(current.share)
        late = time.time() - until
        missing = self._stage.missing(until) if late >= 0 else None
        if late >= _LATE and missing != self._missing:
            self._missing = missing
            if missing:
                self._say(f"{current.share} %: its time is over, but {missing}")
        return late >= 0 and missing is None

    def _ended(self, current: Rollout, reading: asyncio.Task[None]) -> NoReturn:
        error = reading.exception()
        log.error("the outcomes are counted no more", exc_info=error)
        raise CommandEnded(
            f"{current.share} %: the outcomes are counted no more ({error!r}); begun again it goes on from there",
            ExitCode.AWAY,
        )

    def _wrong(self, current: Rollout) -> str | None:
        new, old = self._done(current.plan.to), self._done(current.plan.before)
        if not new.too_many(current.plan.most_errors):
            return None
        most = f"more than {current.plan.most_errors:.2%}"
        return f"of what {current.plan.to} did {new}, {most}; of {current.plan.before} {old}"

    def _done(self, version: str) -> Done:
        return self._stage.counts.by_version[version] if self._stage is not None else Done()

    async def _wait_for_replica(self, current: Rollout) -> None:
        plan = current.plan
        if any(one["version"] == plan.to for one in of_egress(await self._place.view.replicas())):
            await self._command(current, ROLLOUT_SHARE, "the first stage", str(plan.stages[0]))
        elif self._shown != 0:
            self._shown = 0
            self._say(f"waiting for an egress replica of {plan.to}; until then, and at first, it delivers nothing")
        elif time.time() - current.since / 1e6 > self._asked.wait:
            await self._command(current, ROLLOUT_STOP, f"no replica of {plan.to} within {self._asked.wait:g} s")

    async def _passed(self, current: Rollout) -> int | None:
        plan, share = current.plan, current.share
        done = f"of what {plan.to} did {self._done(plan.to)}; of {plan.before} {self._done(plan.before)}"
        following = plan.after(share)
        if following is not None:
            await self._command(current, ROLLOUT_SHARE, f"{share} %: {done}", str(following))
            return None
        self._say(f"{share} %: {done}")
        self._say(f"{plan.to} delivers everything: put it in the place of {plan.before}, then linkspan rollout finish")
        return 0

    async def _command(self, current: Rollout, kind: str, reason: str, value: str = "") -> None:
        """Another driver may have given it before: what counts is what stands on the topic then. Where Kafka is away
        the next look finds the same again."""
        if kind == ROLLOUT_SHARE:
            self._say(reason)
        try:
            await self._place.give(Command(kind, by=BY, reason=reason[:1_000], plan=current.id, value=value))
        except KafkaAway as error:
            self._say(str(error))

    async def _new_stage(self, current: Rollout, faults: Faults, flows: dict[str, int]) -> None:
        await self._end_stage()
        faults.forget()
        self._shown, self._missing = current.share, None
        self._stage = stage = StageCounts(self._place, flows, current.since)
        self._reading = asyncio.create_task(stage.run())
        shares = ", ".join(f"{flow} {portion(count, current.share)} of {count}" for flow, count in flows.items())
        left = max(0.0, current.since / 1e6 + current.plan.lasts(current.share) - time.time())
        self._say(f"{current.share} %: partitions of {shares}; {left:.0f} s to go")

    async def _end_stage(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait({reading}, timeout=10)
