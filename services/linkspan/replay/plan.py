"""Making a plan: scan, look at samples, freeze."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from aiokafka import AIOKafkaConsumer

from linkspan.kernel.kafka.clients import stop_consumer
from linkspan.kernel.records.plan import PlanCodec, PlanHead, Planned, PlanPart
from linkspan.replay.compared import Comparing, Picked, Sample, places
from linkspan.replay.freeze import Freezer, digest_of
from linkspan.replay.place import Place
from linkspan.replay.report import report_of
from linkspan.replay.scan import FETCH_BYTES, Part, Scan
from linkspan.replay.wire import Frozen, PlanJob, Progress


async def make_plan(job: PlanJob, say: Callable[[Progress | Frozen], None]) -> None:
    """Raises KafkaError, TooMany, UserMistake; then, and where it is cancelled, nothing is left of it."""
    place = Place.of(job.setting)
    reader = place.clients.past(max_partition_fetch_bytes=FETCH_BYTES)
    try:
        await reader.start()
        await place.schemas.ready()
        planning = _Planning(job, place, reader)
        say(await planning.result(lambda *said: say(Progress(*said))))
    finally:
        await stop_consumer(reader)


class _Planning:
    def __init__(self, job: PlanJob, place: Place, reader: AIOKafkaConsumer) -> None:
        self._job, self._place, self._reader = job, place, reader
        self._topics, self._codec = place.topics(job.asked.flow), PlanCodec(place.catalog)
        self._hashes: list[str] = []
        self._places: dict[int, int] = {}

    async def result(self, tell: Callable[[int, int, int], None]) -> Frozen:
        job, place = self._job, self._place
        scan = Scan(self._reader, place.integration, place.catalog, job.asked, tell, place.blobs.vault)
        parts = [part for part in await scan.run() if len(part.chosen)]
        known = scan.transforms.hashes
        self._hashes = sorted({known[number] for part in parts for number in part.chosen.made})
        self._places = {number: self._hashes.index(one) for number, one in enumerate(known) if one in self._hashes}
        samples = await self._samples(parts, scan)
        report = report_of(parts, scan.content, scan.scanned, job.rate)
        size = sum(part.chosen.bytes for part in parts)
        frozen = await self._freeze(parts)
        head = PlanHead(
            tuple(frozen), digest_of(frozen), tuple(self._hashes), size, selection=job.asked.json, report=report.json
        )
        return Frozen(self._codec.encode_head(head), tuple(samples))

    def _planned(self, part: Part) -> Iterator[Planned]:
        return part.chosen.planned(part.position, self._places)

    async def _freeze(self, parts: Iterable[Part]) -> list[PlanPart]:
        freezer = Freezer(self._place.clients, self._topics, self._codec, self._job.plan)
        try:
            await freezer.start()
            frozen = [await freezer.part(part, self._planned(part)) for part in parts]
        except BaseException:
            await freezer.undo()
            raise
        else:
            await freezer.forget(self._job.forget)
            return frozen
        finally:
            await freezer.close()

    async def _samples(self, parts: list[Part], scan: Scan) -> list[Sample]:
        job = self._job
        versions = self._place.versions(job.asked.flow, job.texts) if job.diff else None
        try:
            comparing = Comparing(self._reader, self._topics, scan.content, versions)
            return await comparing.samples(list(self._picked(parts)))
        finally:
            if versions is not None:
                await versions.close()

    def _picked(self, parts: list[Part]) -> Iterator[Picked]:
        wanted, passed = places(sum(len(part.chosen) for part in parts), self._job.samples), 0
        for part in parts:
            here = {one - passed for one in wanted if 0 <= one - passed < len(part.chosen)}
            passed += len(part.chosen)
            statuses = part.chosen.statuses_at(here)
            for place, planned in enumerate(self._planned(part) if here else ()):
                if place in here:
                    made = self._hashes[planned.transform] if planned.transform >= 0 else ""
                    at = part.parked.get(planned.offset)
                    yield Picked(part.partition, planned, statuses[place][1], made, at)
