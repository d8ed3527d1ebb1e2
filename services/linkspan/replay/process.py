"""Planning in a process of its own, so that the replica that was asked goes on delivering."""

from __future__ import annotations

import asyncio
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import structlog
from msgspec.structs import replace

from linkspan.kernel.archive.errors import ArchiveAway, ArchiveDamaged
from linkspan.kernel.archive.store import ArchiveStore
from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.errors import KafkaAway, LinkspanError, UserMistake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.kafka.security import OPEN
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.replay.frozen import NotAsFrozen
from linkspan.replay.wire import LINE, Answer, Dry, Failed, Frozen, Job, Progress, Setting, read_answer, to_line

log = structlog.get_logger()

_WORKER = "linkspan.replay.worker"
#: Planners of a replica at a time.
AT_ONCE = 2
#: So long it may take to delete what it has written, seconds; then it is killed.
_GRACE = 4.0


class TooManyPlans(LinkspanError):
    """``AT_ONCE`` of them are under way in this replica."""


class PlannerEnded(LinkspanError):
    """It was killed, perhaps for its memory, and nothing was frozen."""


class TooManyEvents(UserMistake):
    """More are selected than a plan takes."""


class Planners:
    """``setting`` for the jobs of a replica, and the processes that do them. Nothing is left of a job whose caller ends
    its iteration early: the process is ended, and what it wrote is deleted, or means nothing."""

    def __init__(
        self, clients: KafkaClients, integration: Integration, catalog: SchemaCatalog, blobs: BlobStore
    ) -> None:
        self._clients, self._made, self._blobs = clients, (integration, catalog), blobs
        self._under_way = 0

    @property
    def setting(self) -> Setting:
        clients, made = self._clients, pickle.dumps(self._made)
        keyring = None if self._blobs.keyring is None else str(self._blobs.keyring)
        encrypted = clients.security != OPEN
        return Setting(clients.servers, encrypted, self._blobs.url, made, keyring, clients.archive)

    async def run(self, job: Job) -> AsyncGenerator[Progress | Frozen | Dry, None]:
        """Raises TooManyPlans, PlannerEnded, TooManyEvents, KafkaAway, BlobsAway, ArchiveAway, ArchiveDamaged,
        NotAsFrozen, UserMistake."""
        await self._see()
        if self._under_way >= AT_ONCE:
            raise TooManyPlans(f"{AT_ONCE} plans are made in this replica already")
        self._under_way += 1
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _WORKER), stdin=PIPE, stdout=PIPE, limit=LINE
            )
            try:
                async with aclosing(_answers(process, job)) as answers:
                    async for answer in answers:
                        if isinstance(answer, Failed):
                            raise _error(answer)
                        yield answer
            finally:
                await asyncio.shield(_end(process))
        finally:
            self._under_way -= 1

    async def _see(self) -> None:
        """A process of its own cannot know what was mounted here before."""
        self._blobs.see()
        at = self._clients.archive
        if at is not None and not at.asked and await ArchiveStore(at.url, at.integration).head() is not None:
            self._clients.archive = replace(at, asked=True)


async def _answers(process: Process, job: Job) -> AsyncGenerator[Answer, None]:
    """Its input stays open: where that ends, the replica is gone, and the process ends too."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process was started without pipes")
    with suppress(ConnectionError):
        process.stdin.write(to_line(job) + b"\n")
        await process.stdin.drain()
    async for line in process.stdout:
        yield read_answer(line)
    if await process.wait() != 0:
        log.error("a planner ended", code=process.returncode)
        raise PlannerEnded(f"the planner's process ended ({process.returncode}) before it was done")


def _error(failed: Failed) -> Exception:
    match failed.reason:
        case "KAFKA_AWAY":
            return KafkaAway(failed.text)
        case "TOO_MANY":
            return TooManyEvents(failed.text)
        case "NOT_AS_FROZEN":
            return NotAsFrozen(failed.text)
        case "ARCHIVE_AWAY":
            return ArchiveAway(failed.text)
        case "ARCHIVE_DAMAGED":
            return ArchiveDamaged(failed.text)
        case "MISTAKE":
            return UserMistake(failed.text)
    log.error("a planner failed", said=failed.text)
    return RuntimeError("the planner failed; the log has what it said")


async def _end(process: Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_GRACE):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
