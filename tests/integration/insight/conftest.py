from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.integration.insight.logbook import Logbook, write_integration
from tests.integration.insight.worker import PROGRAM, WorkerProcess
from tests.kafka_fixture import Kafka

Start = Callable[..., Awaitable[WorkerProcess]]


@pytest.fixture
async def log(tmp_path: Path, kafka: Kafka) -> Logbook:
    made = Logbook(write_integration(tmp_path, partitions=4, within="5m"), kafka.bootstrap)
    await made.create_topics()
    return made


@pytest.fixture
async def start(log: Logbook, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a worker, which is not ready yet; those that still run at the end are killed."""
    workers: list[WorkerProcess] = []

    async def started(*program: str, **environ: str) -> WorkerProcess:
        workers.append(await WorkerProcess(log, tmp_path / "data", program or PROGRAM, **environ).start())
        return workers[-1]

    yield started
    for worker in workers:
        await worker.kill()
