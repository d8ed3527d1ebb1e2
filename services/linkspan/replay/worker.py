"""The planner process: one job, read from standard input, answered on standard output. Started by ``process``."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import traceback
from asyncio import AbstractEventLoop, Task
from collections.abc import Callable
from typing import Any

from aiokafka.errors import KafkaError

from linkspan.kernel.archive.errors import ArchiveAway, ArchiveDamaged
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.lifecycle import calm_collector
from linkspan.replay.chosen import MOST, TooMany
from linkspan.replay.dry_run import dry_run
from linkspan.replay.frozen import NotAsFrozen
from linkspan.replay.plan import make_plan
from linkspan.replay.quick import read_quickly
from linkspan.replay.wire import Answer, Failed, Job, PlanJob, read_job, to_line

#: Delivery, on the same cores perhaps, goes first.
_NICE = 10


def main() -> None:
    os.nice(_NICE)
    channel = _take_standard_output()
    logging.disable(logging.CRITICAL)
    read_quickly()
    calm_collector()
    job = read_job(sys.stdin.buffer.readline())
    with os.fdopen(channel, "wb") as out:

        def say(answer: Answer) -> None:
            out.write(to_line(answer) + b"\n")
            out.flush()

        asyncio.run(_do(job, say))


def _take_standard_output() -> int:
    """What libraries print goes to standard error, so that there are answers alone."""
    channel = os.dup(1)
    os.dup2(2, 1)
    return channel


async def _do(job: Job, say: Callable[[Answer], None]) -> None:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("no task")
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    threading.Thread(target=_until_left, args=(loop, task), daemon=True).start()
    try:
        await (make_plan(job, say) if isinstance(job, PlanJob) else dry_run(job, say))
    except asyncio.CancelledError:
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the replica says it
        say(_failed(error))


def _until_left(loop: AbstractEventLoop, task: Task[Any]) -> None:
    """The replica is gone when its end of standard input is."""
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(task.cancel)


def _failed(error: Exception) -> Failed:
    match error:
        case TooMany():
            return Failed("TOO_MANY", f"more than {MOST:,} events of a partition fit; narrow the selection")
        case NotAsFrozen():
            return Failed("NOT_AS_FROZEN", str(error))
        case ArchiveAway():
            return Failed("ARCHIVE_AWAY", str(error))
        case ArchiveDamaged():
            return Failed("ARCHIVE_DAMAGED", str(error))
        case UserMistake():
            return Failed("MISTAKE", str(error))
        case KafkaError() | OSError() | TimeoutError():
            return Failed("KAFKA_AWAY", f"Kafka does not answer: {error or type(error).__name__}")
    return Failed("BUG", "".join(traceback.format_exception(error)))


if __name__ == "__main__":
    main()
