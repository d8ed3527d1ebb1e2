"""Live latency with and without a replay beside it: 200 live messages a second while the flow's whole history is sent
again by the same replica, as fast as it goes; without, with, without, with, in one run. From sending the request until
the frame is at the destination.

    python -m bench.replay_beside [EVENTS [RATE]]

``RATE``: the replay's messages a second at most, 0: no limit of its own. All of it, with Kafka, the load and the
receiver, shares this machine.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpc import aio

from bench.integration import FLOW, NAME, write_integration
from bench.load import Load, open_loop
from bench.process import Process
from bench.receiver import Receiver
from bench.smoke import LATENCY_RATE, PER_BATCH, SINGLE, Bench, port_of, say
from linkspan.broker import EmbeddedKafka
from linkspan.control.v1 import replays_pb2 as pb
from linkspan.control.v1.control_pb2_grpc import ControlServiceStub

EVENTS = 30_000
#: Of each window; and how often each of the two is seen.
SECONDS, TIMES = 8.0, 2
#: Frames of the replay before its window begins.
UNDER_WAY = 500
#: For anything that is waited for.
_PATIENCE = 180.0


@dataclass(frozen=True)
class Seen:
    """Milliseconds; ``replayed``: frames a second of the replay; ``cpu``: cores of egress."""

    p50: float
    p95: float
    p99: float
    replayed: float
    cpu: float


class Control:
    """``control.PlanReplay(request)``, with the token that the first process made."""

    def __init__(self, channel: aio.Channel, token: str) -> None:
        self._stub, self._metadata = ControlServiceStub(channel), (("authorization", f"Bearer {token}"),)

    def __getattr__(self, method: str) -> Callable[[Any], Any]:
        call = getattr(self._stub, method)
        return lambda request: call(request, metadata=self._metadata, timeout=_PATIENCE)


class Beside:
    """The running bridge; ``rate`` of replays."""

    def __init__(self, bench: Bench, ingress: int, egress: Process, receiver: Receiver, rate: float) -> None:
        self._bench, self._ingress, self._egress, self._receiver = bench, ingress, egress, receiver
        self._rate = rate

    async def backlog(self, events: int) -> None:
        load = Load(self._ingress, self._bench.batches(-(-events // PER_BATCH)), 8)
        await load.run(_PATIENCE)
        if not await self._receiver.until(load.answered * PER_BATCH, _PATIENCE):
            raise SystemExit(f"{self._receiver.count} of {load.answered * PER_BATCH} messages were delivered")

    async def window(self) -> Seen:
        """Live messages for so many seconds."""
        receiver, count = self._receiver, int(LATENCY_RATE * SECONDS)
        receiver.came, receiver.remember = {}, True
        before, cpu, began = receiver.count, self._egress.cpu(), time.monotonic()
        sent = await open_loop(self._ingress, SINGLE, self._bench.latency_bodies(count), LATENCY_RATE)
        took, frames, cpu = time.monotonic() - began, receiver.count - before, self._egress.cpu() - cpu
        deadline = time.monotonic() + 30
        while not sent.keys() <= receiver.came.keys() and time.monotonic() < deadline:  # noqa: ASYNC110 - it counts
            await asyncio.sleep(0.01)
        receiver.remember = False
        missing = len(sent.keys() - receiver.came.keys())
        if missing:
            raise SystemExit(f"{missing} of {count} live messages did not arrive")
        cuts = statistics.quantiles([(receiver.came[one] - at) * 1000 for one, at in sent.items()], n=100)
        return Seen(cuts[49], cuts[94], cuts[98], max(0, frames - count) / took, cpu / took)

    @asynccontextmanager
    async def replay(self, control: Control) -> AsyncIterator[None]:
        """All that was ever accepted, again; it is cancelled at the end, and must still be under way then."""
        async for answer in control.PlanReplay(pb.PlanReplayRequest(flow=FLOW, reason="to measure")):
            plan = answer.plan
        before = self._receiver.count
        request = pb.StartReplayRequest(plan=plan, reason="to measure", force=True, allow_superseded=True)
        request.rate = self._rate
        running = aiter(control.StartReplay(request))
        await anext(running)
        if not await self._receiver.until(before + UNDER_WAY, _PATIENCE):
            raise SystemExit("the replay sends nothing; see the log of egress")
        yield
        await control.CancelReplay(pb.CancelReplayRequest(plan=plan, reason="measured"))
        last = [one async for one in running][-1].replay
        if last.phase != pb.REPLAY_PHASE_CANCELLED or last.finished != last.records:
            raise SystemExit(f"the replay was over too early: give more EVENTS than {last.records}")


async def measure(beside: Beside, control: Control) -> tuple[list[Seen], list[Seen]]:
    without, among = [], []
    for _ in range(TIMES):
        without.append(await beside.window())
        show("without", without[-1])
        async with beside.replay(control):
            among.append(await beside.window())
        show("with", among[-1])
        await asyncio.sleep(1)
    return without, among


async def run(directory: Path, kafka: str, events: int, rate: float) -> None:
    receiver = Receiver()
    file = write_integration(directory, NAME, await receiver.start())
    bench = Bench(directory, kafka)
    processes = [bench.linkspan("ingress", file)]
    try:
        port = port_of(processes[0])
        processes.append(bench.linkspan("egress", file))
        address = processes[1].ready("control 127.").split()[-1]
        beside = Beside(bench, port, processes[1], receiver, rate)
        await beside.backlog(events)
        token = (directory / "data" / "control" / "token").read_text().strip()
        async with aio.insecure_channel(address) as channel:
            without, among = await measure(beside, Control(channel, token))
    finally:
        for process in processes:
            process.stop()
        await receiver.stop()
    for name in ("p50", "p95", "p99"):
        one, other = (statistics.mean(getattr(seen, name) for seen in side) for side in (without, among))
        say(f"ratio replay-beside-{name} {other / one:.2f}  ({one:.1f} ms without, {other:.1f} ms with)")


def show(name: str, seen: Seen) -> None:
    say(f"{name}: p50 {seen.p50:.1f} ms, p95 {seen.p95:.1f} ms, p99 {seen.p99:.1f} ms; replay {seen.replayed:,.0f}/s")
    say(f"  egress {seen.cpu:.2f} cores, load average {os.getloadavg()[0]:.1f}")


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    rate = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    with tempfile.TemporaryDirectory(prefix="linkspan-bench-") as folder:
        directory = Path(folder)
        with EmbeddedKafka(directory / "kafka") as kafka:
            asyncio.run(run(directory, kafka.bootstrap, events, rate))


if __name__ == "__main__":
    main()
