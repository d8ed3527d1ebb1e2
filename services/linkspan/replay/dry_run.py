"""A dry run: what a run would send goes through the real transform; nothing is sent and nothing is recorded."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.kernel.codec import Datum, Decoder
from linkspan.kernel.crypto.sealed import Opener
from linkspan.kernel.crypto.withheld import Secrets, unquoting
from linkspan.kernel.crypto.wrapper import KeyAway
from linkspan.kernel.errors import DeliveryError, Poison, Undecryptable, UserMistake
from linkspan.kernel.kafka.clients import stop_consumer
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.parked import Copy
from linkspan.kernel.records.plan import (
    FAILED,
    RETENTION,
    SEALED,
    SENT,
    UNREADABLE,
    PlanCodec,
    PlanHead,
    Planned,
    PlanPart,
    ReplayOptions,
    Stood,
    check_of,
    unsent,
)
from linkspan.kernel.topics import Headers
from linkspan.replay.compared import Versions
from linkspan.replay.freeze import listed
from linkspan.replay.place import Place
from linkspan.replay.wire import Dry, DryJob
from linkspan.transform import Transform

#: Events that are looked at together; a gap between planned offsets that is read over rather than jumped over.
_TOGETHER, _GAP = 500, 5_000
_READ_MS, _EMPTY = 1_000, 30
#: Reasons that are named, the most frequent, and characters of each.
_REASONS, _LONGEST = 10, 300
_TELL = 0.5
#: Of a message with confidential values: these, and its bytes.
_Sealed: TypeAlias = tuple[Secrets, bytes | None] | None


async def dry_run(job: DryJob, say: Callable[[Dry], None]) -> None:
    """Raises KafkaError, NotAsFrozen, UserMistake."""
    place = Place.of(job.setting)
    codec = PlanCodec(place.catalog)
    reader, versions = place.clients.past(), place.versions(job.flow, job.texts)
    try:
        await reader.start()
        await place.schemas.ready()
        run = _DryRun(job, place, reader, versions, codec.decode_options(job.options))
        await run.through(codec, codec.decode_head(job.head), say)
    finally:
        await stop_consumer(reader)
        await versions.close()


class _DryRun:
    def __init__(
        self, job: DryJob, place: Place, reader: AIOKafkaConsumer, versions: Versions, options: ReplayOptions
    ) -> None:
        self._plan, self._topics = job.plan, place.topics(job.flow)
        self._reader, self._versions, self._options = reader, versions, options
        spec = place.integration.flows[job.flow]
        decoder = Decoder.of_events(place.catalog, place.integration.integration, [spec.type])
        self._opener = Opener(decoder, place.blobs.vault)
        self._hashes: tuple[str, ...] = ()
        self._became: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._told_at = 0.0

    async def through(self, codec: PlanCodec, head: PlanHead, say: Callable[[Dry], None]) -> None:
        self._hashes = head.transforms
        self._versions.today()  # where it cannot run, nothing of it is true
        for part in head.partitions:
            await self._part(await listed(self._reader, self._topics, codec, self._plan, part), part, say)
        say(self._said(finished=True))

    def _said(self, *, finished: bool = False) -> Dry:
        return Dry(dict(self._became), tuple(self._reasons.most_common(_REASONS)), finished)

    async def _part(self, entries: list[Planned], part: PlanPart, say: Callable[[Dry], None]) -> None:
        to_send: list[Planned] = []
        for one in entries:
            ends = unsent(Stood.of(one.code), self._options)
            if ends is None:
                to_send.append(one)
            else:
                self._became[ends] += 1
        parked = await self._parked(part, {one.offset for one in to_send if Stood.of(one.code).parked})
        events = iter(one for one in to_send if not Stood.of(one.code).parked)
        self._told(say)
        await self._all([(one, parked.get(one.offset)) for one in to_send if Stood.of(one.code).parked])
        while some := list(islice(events, _TOGETHER)):
            found = await self._events(part, some)
            await self._all([(one, found.get(one.offset)) for one in some])
            self._told(say)

    def _told(self, say: Callable[[Dry], None]) -> None:
        if time.monotonic() - self._told_at >= _TELL:
            self._told_at = time.monotonic()
            say(self._said())

    async def _parked(self, part: PlanPart, wanted: set[int]) -> dict[int, tuple[bytes | None, bytes | None]]:
        """Message id and value by event offset."""
        found: dict[int, tuple[bytes | None, bytes | None]] = {}

        def take(record: Any) -> None:
            copy = Copy(record)
            if copy.offset in wanted:
                message_id = dict(copy.headers).get(Headers.MESSAGE_ID)
                found.pop(copy.offset, None)
                if not copy.gone:
                    found[copy.offset] = message_id, record.value

        if wanted:
            await read_all(self._reader, TopicPartition(self._topics.parked, part.partition), 0, None, take)
        return found

    async def _events(self, part: PlanPart, wanted: list[Planned]) -> dict[int, tuple[bytes | None, bytes | None]]:
        """As ``_parked``; those that the log has still."""
        tp, found = TopicPartition(self._topics.events, part.partition), dict[int, tuple[bytes | None, bytes | None]]()
        self._reader.assign([tp])
        start = (await self._reader.beginning_offsets([tp]))[tp]
        for first, last in _runs([one.offset for one in wanted if one.offset >= start]):
            self._reader.seek(tp, first)
            empty = 0
            while await self._reader.position(tp) <= last:
                records = (await self._reader.getmany(tp, timeout_ms=_READ_MS, max_records=_TOGETHER)).get(tp, [])
                empty = 0 if records else empty + 1
                if empty > _EMPTY:
                    raise TimeoutError
                for record in records:
                    found[record.offset] = dict(record.headers).get(Headers.MESSAGE_ID), record.value
        return found

    async def _all(self, records: list[tuple[Planned, tuple[bytes | None, bytes | None] | None]]) -> None:
        waiting: list[tuple[Transform, Datum, _Sealed]] = []
        for one, found in records:
            if found is None or check_of(found[0]) != one.check:
                self._became[RETENTION] += 1
                continue
            try:
                message, secrets = await self._opener.later(found[1])
            except (Undecryptable, KeyAway):
                self._became[SEALED] += 1
            except Poison:
                self._became[UNREADABLE] += 1
            else:
                self._now(one, message, waiting, None if secrets is None else (secrets, found[1]))
        for transform in {pair[0] for pair in waiting}:
            turns = asyncio.Semaphore(transform.at_once)
            await asyncio.gather(*(self._later(turns, *one) for one in waiting if one[0] is transform))

    def _now(
        self, one: Planned, message: Datum, waiting: list[tuple[Transform, Datum, _Sealed]], sealed: _Sealed
    ) -> None:
        then = self._hashes[one.transform] if self._options.as_of and one.transform >= 0 else ""
        try:
            transform = self._versions.then(then) if then else self._versions.today()
            if sealed is not None or transform.apply_now(message) is None:
                waiting.append((transform, message, sealed))
                return
        except (DeliveryError, UserMistake) as error:
            self._failed(error)
        else:
            self._became[SENT] += 1

    async def _later(self, turns: asyncio.Semaphore, transform: Transform, message: Datum, sealed: _Sealed) -> None:
        async with turns:
            try:
                await transform.apply(message)
            except Exception as error:
                if sealed is not None:
                    secrets, value = sealed
                    self._failed(unquoting(error, secrets, await transform.fails(self._opener.hidden(value))))
                elif isinstance(error, DeliveryError):
                    self._failed(error)
                else:
                    raise
            else:
                self._became[SENT] += 1

    def _failed(self, error: Exception) -> None:
        self._became[FAILED] += 1
        said = str(error)[:_LONGEST]
        if said in self._reasons or len(self._reasons) < 1_000:
            self._reasons[said] += 1


def _runs(offsets: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of those that are read in one go."""
    first = last = -1
    for offset in offsets:
        if first >= 0 and offset - last > _GAP:
            yield first, last
            first = offset
        first, last = (offset if first < 0 else first), offset
    if first >= 0:
        yield first, last
