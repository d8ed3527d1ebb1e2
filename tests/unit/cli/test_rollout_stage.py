"""A stage passes only where what was told in it is counted; what the control topic says is folded as ever."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.cli.rollout import drive
from linkspan.cli.rollout.counts import Counts
from linkspan.cli.rollout.drive import Asked, Driver
from linkspan.control.rollouts import Rollouts
from linkspan.kernel.commands import ROLLOUT_START, Command
from linkspan.kernel.records.rollout import RolloutPlan

OLD, NEW, FLOW = "0.9.0", "1.0.0", "orders"
PLAN = RolloutPlan(NEW, OLD, stages=(50, 100), stay=0.05, watch=0.05)


class Reading:
    """Of a stage's outcomes: ``why`` they are not counted, ``dead`` what its reader ends with."""

    def __init__(self) -> None:
        self.counts, self.why = Counts(), "the outcomes cannot be read (x)"
        self.dead: Exception | None = None
        self.counted = False

    def missing(self, _until: float) -> str | None:
        return None if self.counted else self.why

    async def run(self) -> None:
        if self.dead is not None:
            raise self.dead
        await asyncio.Event().wait()


class Control:
    """As commands on the topic would be folded; half of four partitions, or all, are the new version's."""

    def __init__(self) -> None:
        self.rollouts = Rollouts()
        self.rollouts.folds[ROLLOUT_START](Command(ROLLOUT_START, by="t", reason="t", body=PLAN))

    async def give(self, command: Command) -> None:
        self.rollouts.folds[command.kind](command)

    async def replicas(self) -> list[dict[str, Any]]:
        share = self.rollouts.current.share if self.rollouts.current else 0
        flow = {"flow": FLOW, "partitions": list(range(4 * share // 100)), "breaker": "closed", "reason": ""}
        return [{"replica": "r", "version": NEW, "service": "egress", "flows": [flow]}]


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    made = Reading()
    monkeypatch.setattr(drive, "StageCounts", lambda *_: made)
    monkeypatch.setattr(drive, "_EVERY", 0.01)
    monkeypatch.setattr(drive, "_LATE", 0.02)
    return made


def driver(control: Control, said: asyncio.Queue[str]) -> Driver:
    place: Any = SimpleNamespace(
        integration=SimpleNamespace(flows={FLOW: SimpleNamespace(partitions=4)}),
        state=SimpleNamespace(rollouts=control.rollouts),
        tail=SimpleNamespace(trouble=lambda: None),
        view=SimpleNamespace(replicas=control.replicas),
        give=control.give,
    )
    return Driver(place, Asked(PLAN, "t", "t", 60, False), said.put_nowait)


async def test_a_stage_whose_outcomes_are_not_counted_waits_says_why_once_and_goes_on_when_they_are(
    reading: Reading,
) -> None:
    control, said = Control(), asyncio.Queue[str]()
    running = asyncio.create_task(driver(control, said).run())
    while await asyncio.wait_for(said.get(), 10) != "50 %: its time is over, but the outcomes cannot be read (x)":
        pass
    await asyncio.sleep(0.1)
    assert said.empty()
    assert control.rollouts.current is not None
    assert control.rollouts.current.share == 50
    reading.counted = True
    assert await asyncio.wait_for(running, 10) == 0
    assert control.rollouts.current.share == 100


async def test_a_rollout_goes_no_further_where_its_counting_died(reading: Reading) -> None:
    control = Control()
    reading.dead, reading.counted = ValueError("no number"), True
    with pytest.raises(CommandEnded, match=r"50 %: .*ValueError\('no number'\)") as ended:
        await asyncio.wait_for(driver(control, asyncio.Queue()).run(), 10)
    assert ended.value.code == ExitCode.AWAY
    assert control.rollouts.current is not None
    assert (control.rollouts.current.share, control.rollouts.current.stopped) == (50, None)
