"""Rounds over all partitions of an integration: each archives what its log has gained."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable

import msgspec
import structlog
from aiokafka.errors import KafkaError

from linkspan.archive.kept import Kept, kept_of
from linkspan.archive.partition import Limits, PartitionArchiver, Standing
from linkspan.kernel.archive.errors import ArchiveAway, ArchiveDamaged
from linkspan.kernel.archive.store import ArchiveStore
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer
from linkspan.kernel.spec import Integration
from linkspan.kernel.telemetry import metrics

log = structlog.get_logger()

_FETCH_BYTES = 8 * 1024 * 1024


class Failure(msgspec.Struct, frozen=True):
    """``what``: kafka, archive or damaged."""

    kept: Kept
    what: str
    text: str


class Round(msgspec.Struct):
    """What a round came to, and what of it failed."""

    standing: list[tuple[Kept, Standing]] = []
    failed: list[Failure] = []

    @property
    def missed(self) -> int:
        return sum(one.missed for _, one in self.standing)


class Rounds:
    def __init__(self, clients: KafkaClients, integration: Integration, store: ArchiveStore, limits: Limits) -> None:
        self._clients, self._store = clients, store
        self._archivers = [(kept, PartitionArchiver(store, kept, limits)) for kept in kept_of(integration)]
        _begin_metrics(kept for kept, _ in self._archivers)

    async def prepare(self, *, adopt: bool) -> None:
        """Sees that the archive is of this Kafka. Raises UserMistake, ArchiveAway, ArchiveDamaged, KafkaError."""
        head, cluster = await self._store.head(), await self._clients.cluster()
        if head is None:
            log.warning("an archive is begun", archive=self._store.url, integration=self._store.integration)
        elif head.cluster != cluster and not adopt:
            raise UserMistake(
                f"the archive {self._store.url} is of the Kafka cluster {head.cluster}, and this is {cluster}: where "
                "this one goes on at the same offsets, as after linkspan archive restore, say --adopt; else begin "
                "another archive"
            )
        if head is None or head.cluster != cluster:
            await self._store.begin(cluster)

    async def round(self, *, everything: bool) -> Round:
        """One partition after the other; one that fails keeps no other from its turn. Raises ArchiveAway."""
        await self._see()
        done, reader = Round([], []), self._clients.reader(max_partition_fetch_bytes=_FETCH_BYTES)
        try:
            await reader.start()
            for kept, archiver in self._archivers:
                try:
                    done.standing.append((kept, await archiver.round(reader, everything=everything)))
                except (ArchiveAway, ArchiveDamaged, KafkaError, OSError, TimeoutError) as error:
                    done.failed.append(Failure(kept, _what(error), str(error) or type(error).__name__))
        finally:
            await stop_consumer(reader)
        await self._see()
        _tell(done)
        return done

    async def _see(self) -> None:
        """What is written below an empty mount point is not in the archive: where it goes on is asked again then."""
        if await self._store.head() is not None:
            return
        for _, archiver in self._archivers:
            archiver.begin_anew()
        raise ArchiveAway(
            f"the archive {self._store.url} was there, and is not now: mount its disk, or start this anew to begin "
            "another one"
        )


def _what(error: Exception) -> str:
    match error:
        case ArchiveAway():
            return "archive"
        case ArchiveDamaged():
            return "damaged"
    return "kafka"


def _begin_metrics(kept: Iterable[Kept]) -> None:
    for one in kept:
        metrics.ARCHIVE_MISSED.labels(one.flow, one.what)
        metrics.ARCHIVED.labels(one.flow, one.what)
        if one.retention:
            metrics.ARCHIVE_RETENTION_SECONDS.labels(one.flow, one.what).set(one.retention / 1000)


def _tell(done: Round) -> None:
    lag, age = defaultdict[tuple[str, str], int](int), defaultdict[tuple[str, str], float](float)
    for kept, one in done.standing:
        label = kept.flow, kept.what
        lag[label] += one.lag
        age[label] = max(age[label], one.lag_seconds)
        metrics.ARCHIVED.labels(*label).inc(one.archived)
        metrics.ARCHIVED_BYTES.labels(*label).inc(one.bytes)
    for label, offsets in lag.items():
        metrics.ARCHIVE_LAG.labels(*label).set(offsets)
        metrics.ARCHIVE_LAG_SECONDS.labels(*label).set(age[label])
    for failure in done.failed:
        metrics.ARCHIVE_FAILURES.labels(failure.what).inc()
    if not done.failed:
        metrics.ARCHIVE_ROUND.set_to_current_time()


class Upkeep:
    """``run`` until cancelled: a round every so many seconds, whatever is away meanwhile."""

    def __init__(self, rounds: Rounds, every: float, *, adopt: bool) -> None:
        self._rounds, self._every, self._adopt = rounds, every, adopt
        self._trouble: str | None = "not yet begun"
        self.begun = asyncio.Event()

    async def ready(self) -> str | None:
        return self._trouble

    async def run(self) -> None:
        """Raises UserMistake where the archive is of another Kafka."""
        prepared = False
        while True:
            began = time.monotonic()
            try:
                if not prepared:
                    await self._rounds.prepare(adopt=self._adopt)
                    prepared = True
                self._said(await self._rounds.round(everything=False))
                self.begun.set()
            except (ArchiveAway, ArchiveDamaged, KafkaError, OSError, TimeoutError) as error:
                self._failed(_what(error), str(error) or type(error).__name__)
                metrics.ARCHIVE_FAILURES.labels(_what(error)).inc()
            await asyncio.sleep(max(0.0, self._every - (time.monotonic() - began)))

    def _said(self, done: Round) -> None:
        archived, segments = (
            sum(one.archived for _, one in done.standing),
            sum(one.segments for _, one in done.standing),
        )
        if segments:
            log.info("archived", records=archived, segments=segments)
        if not done.failed:
            self._trouble = None
        for failure in done.failed:
            place = failure.kept.place
            self._failed(failure.what, f"{place.topic} {place.partition}: {failure.text}")

    def _failed(self, what: str, text: str) -> None:
        if self._trouble != text:
            log.warning("nothing is archived", what=what, error=text)
        self._trouble = text
