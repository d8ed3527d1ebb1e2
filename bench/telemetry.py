"""``python -m bench.telemetry``: what traces, metrics and logs cost the delivery by WebSocket, as a ratio.

Each round delivers the same messages in turn: with everything off (no exporter, metrics that count nothing, logs from
``error``), with metrics and with logs from ``info``, at the default (besides, a tenth of the traces sampled and
exported), and a third as many with every trace sampled. A server in this process takes the spans, and does nothing.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
from pathlib import Path

from bench.integration import NAME, write_integration
from bench.load import Load
from bench.process import Process
from bench.receiver import HttpReceiver, Receiver
from bench.smoke import PER_BATCH, Bench, port_of, say
from linkspan.broker import EmbeddedKafka

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "4"))
#: Messages of one delivery; the first of them are not measured.
MESSAGES, WARM = int(os.environ.get("BENCH_MESSAGES", "20000")), 1_000
#: Seconds that one delivery may take.
LONGEST = 300
OFF, NO_SPANS, DEFAULT, ALL = "everything off", "metrics and logs", "default", "every trace sampled"
#: The share of traces that ingress samples, by what is measured.
SHARES = {OFF: "0.1", NO_SPANS: "0.1", DEFAULT: "0.1", ALL: "1"}


class Rounds:
    """``found``: microseconds of CPU a message, of each delivery, by what was measured."""

    def __init__(self, bench: Bench, file: Path, receiver: Receiver, spans: HttpReceiver, collector: str) -> None:
        self._bench, self._file, self._receiver, self._spans = bench, file, receiver, spans
        self._collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector}
        self._ingress: dict[str, Process] = {}
        self._accepted = 0
        self.found: dict[str, list[float]] = {what: [] for what in SHARES}

    def start(self) -> None:
        for share in sorted(set(SHARES.values())):
            environ = {"OTEL_TRACES_SAMPLER_ARG": share, "OTEL_SDK_DISABLED": "true"}
            self._ingress[share] = self._linkspan("linkspan", "ingress", f"ingress-{share}", **environ)

    def _linkspan(self, module: str, service: str, name: str, **environ: str) -> Process:
        ports = ("--port", "0", "--control-port", "0")
        return self._bench.process(name, module, service, str(self._file), *ports, **environ)

    def _egress(self, what: str) -> Process:
        if what == OFF:
            return self._linkspan("bench.silent", "egress", "egress-off", OTEL_SDK_DISABLED="true", LOG_LEVEL="error")
        environ = {"OTEL_SDK_DISABLED": "true"} if what == NO_SPANS else self._collector
        return self._linkspan("linkspan", "egress", "egress", **environ)

    async def measure(self, what: str) -> None:
        count = MESSAGES // PER_BATCH // (3 if what == ALL else 1)
        await Load(port_of(self._ingress[SHARES[what]]), self._bench.batches(count), 8).run(LONGEST)
        self._accepted += count * PER_BATCH
        begin = self._receiver.count + WARM
        egress = self._egress(what)
        try:
            await asyncio.to_thread(egress.ready, "ready ")
            await self._until(begin)
            first, before = self._receiver.count, egress.cpu()
            await self._until(self._accepted)
            cost = (egress.cpu() - before) / (self._receiver.count - first) * 1e6
        finally:
            await asyncio.to_thread(egress.stop)
        self.found[what].append(cost)
        say(f"  {what}: {cost:.0f} us of CPU a message, {self._spans.count} exports so far")

    async def _until(self, count: int) -> None:
        if not await self._receiver.until(count, LONGEST):
            raise SystemExit(f"{self._receiver.count} of {count} messages were delivered in {LONGEST} s")

    def stop(self) -> None:
        for process in self._ingress.values():
            process.stop()


async def run(directory: Path, kafka: str) -> dict[str, list[float]]:
    receiver, spans = Receiver(), HttpReceiver()
    port, collector = await receiver.start(), await spans.start()
    file = write_integration(directory, NAME, port)
    rounds = Rounds(Bench(directory, kafka), file, receiver, spans, f"http://127.0.0.1:{collector}")
    try:
        rounds.start()
        for number in range(1, ROUNDS + 1):
            say(f"round {number} of {ROUNDS}, load average {os.getloadavg()[0]:.1f}")
            for what in SHARES:
                await rounds.measure(what)
    finally:
        rounds.stop()
        await receiver.stop()
        await spans.stop()
    return rounds.found


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="linkspan-bench-") as folder:
        directory = Path(folder)
        with EmbeddedKafka(directory / "kafka") as kafka:
            found = asyncio.run(run(directory, kafka.bootstrap))
    off = found[OFF]
    for what in (NO_SPANS, DEFAULT, ALL):
        ratios = [one / other for one, other in zip(found[what], off, strict=True)]
        costs = f"{statistics.median(found[what]):.0f} us against {statistics.median(off):.0f} us a message"
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        say(f"ratio telemetry {what} {statistics.median(ratios):.2f} ({costs}; each round: {each})")
    say(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
