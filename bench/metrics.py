"""What metrics cost a message, in a loop by themselves: ``python -m bench.metrics``.

A loop with them and the same loop without, alternately, best of five each; microseconds a message, and their share of
a delivery by WebSocket as ``bench.smoke`` last saw it on the same kind of machine (195 us).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from linkspan.kernel.telemetry.declared import SECONDS, Durations
from linkspan.kernel.telemetry.metrics import ATTEMPTS

COUNT = 100_000
DELIVERY = 195.0
TRACED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"


def best(work: Callable[[], None]) -> float:
    """Microseconds a message."""
    times = []
    for _ in range(5):
        started = time.process_time()
        work()
        times.append((time.process_time() - started) / COUNT * 1e6)
    return min(times)


def main() -> None:
    attempts = ATTEMPTS.labels("bench", "bench", "delivered")
    made = [Durations("x", "x", ["flow"], buckets=SECONDS, registry=None).labels("a") for _ in range(4)]
    end_to_end, round_trip, wait, prepare = made
    traces = [TRACED + ("1" if number % 10 == 0 else "0") for number in range(COUNT)]  # the default: a tenth is sampled

    def empty() -> None:
        for _ in traces:
            pass

    def delivery() -> None:
        """What egress does for a message."""
        for traced in traces:
            started = time.perf_counter()
            prepare.note(time.perf_counter() - started)
            took = time.time_ns() / 1e9 - 1e9
            attempts.inc()
            round_trip.note(0.004)
            round_trip.example(0.004, traced)
            wait.note(took)
            end_to_end.note(0.02)
            end_to_end.example(0.02, traced)

    def observed_singly() -> None:
        """The same by the library alone, children cached."""
        for _ in traces:
            attempts.inc()
            for one in made:
                one.observe(0.004)

    for name, work in (("a delivery", delivery), ("the same, observed one by one", observed_singly)):
        cost = best(work) - best(empty)
        print(f"{name}: {cost:.2f} us, {cost / DELIVERY:.1%} of a delivery")


if __name__ == "__main__":
    main()
