"""One pass over a flow's events and one over its outcomes, a partition after the other, to the ends of now.

Headers decide; values are read where the predicate asks for them. Memory: three bytes an offset of the partition that
is read, some 25 bytes a selected event, 200 for each key of theirs, and the headers of what stands in ``parked``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.kernel.archive.reader import ArchivedReader
from linkspan.kernel.codec import Decoder, OutcomeCodec
from linkspan.kernel.crypto.vault import Vault
from linkspan.kernel.errors import Poison
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.parked import Copy
from linkspan.kernel.records.position import Position
from linkspan.kernel.records.state import HOLD, POSITION, StateCodec
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.topics import FlowTopics, Headers
from linkspan.replay.archived import check_known
from linkspan.replay.chosen import Chosen
from linkspan.replay.content import EventContent
from linkspan.replay.known import Known, accepted_at
from linkspan.replay.selection import Fitting, Selection, predicate
from linkspan.replay.standing import DEAD, EXPIRED, HELD, HOLDING, Around, Standing, Transforms

#: Events bear the time of their acceptance, outcomes that of another machine: it may be so far behind, milliseconds.
_CLOCKS_MS = 600_000
#: The fetch of a partition: rather few large ones.
FETCH_BYTES = 8 * 1024 * 1024
_FETCH_MS, _EMPTY = 1_000, 30
#: Progress is told so often, seconds.
_TELL = 0.5

Tell = Callable[[int, int, int], None]


@dataclass(slots=True)
class Part:
    """What was selected of one partition. ``end``: of its events; ``outcomes``: those below are taken account of, and
    ``epoch`` is in force there; ``position``: events below are finished; ``parked``: where the copy stands of an event
    that the log has no more."""

    partition: int
    chosen: Chosen
    end: int
    outcomes: int
    epoch: int
    position: int
    parked: dict[int, int] = field(default_factory=dict)


class Scan:
    """``tell`` hears records scanned, to be scanned, and events selected. Raises KafkaError, TooMany, and with an
    archive ArchiveAway, ArchiveDamaged, NotKnown."""

    def __init__(
        self,
        reader: AIOKafkaConsumer | ArchivedReader,
        integration: Integration,
        catalog: SchemaCatalog,
        asked: Selection,
        tell: Tell,
        vault: Vault | None = None,
    ) -> None:
        self._reader, self._asked, self._tell = reader, asked, tell
        self._flow = integration.flows[asked.flow]
        self._topics = FlowTopics.of(integration.integration, asked.flow)
        decoder = Decoder.of_events(catalog, integration.integration, [self._flow.type])
        asks = predicate(asked.predicate, integration.values) if asked.predicate else None
        self.content = EventContent(decoder, asks, vault)
        self._outcome, self._state = OutcomeCodec(catalog), StateCodec(catalog)
        self.transforms = Transforms(self._made)
        self.parts: list[Part] = []
        self.scanned = self._total = 0
        self._told_at = 0.0

    @property
    def selected(self) -> int:
        return sum(len(part.chosen) for part in self.parts)

    async def run(self) -> list[Part]:
        numbers = self._asked.partitions(self._flow.partitions)
        events = [TopicPartition(self._topics.events, number) for number in numbers]
        outcomes = [TopicPartition(self._topics.outcomes, number) for number in numbers]
        starts = await self._reader.beginning_offsets(events + outcomes)
        ends = await self._reader.end_offsets(events + outcomes)
        firsts = await self._firsts(events, starts, ends) | await self._firsts(outcomes, starts, ends, _CLOCKS_MS)
        self._total = sum(ends[tp] - firsts[tp] for tp in firsts)
        for one, said in zip(events, outcomes, strict=True):
            await check_known(self._reader, (one, firsts[one], ends[one]), (said, starts[said], ends[said]))
            first = max(firsts[one], self._asked.first(one.partition))
            self.parts.append(await self._partition(one, said, starts[one], first, ends[one], firsts[said]))
        self._say(done=True)
        return self.parts

    async def _firsts(
        self, wanted: list[TopicPartition], starts: Any, ends: Any, slack: int = 0
    ) -> dict[TopicPartition, int]:
        """Kafka knows the first record that is not older: what stands before it was accepted earlier."""
        if self._asked.since is None or not wanted:
            return {tp: starts[tp] for tp in wanted}
        since = max(0, self._asked.since // 1000 - slack)
        found = await self._reader.offsets_for_times(dict.fromkeys(wanted, since))
        return {tp: ends[tp] if found.get(tp) is None else found[tp].offset for tp in wanted}

    async def _partition(
        self, events: TopicPartition, outcomes: TopicPartition, start: int, first: int, end: int, told_from: int
    ) -> Part:
        number = events.partition
        fitting = Fitting(self._asked, number)
        position, held = await self._owner(number)
        parked = TopicPartition(self._topics.parked, number)
        copies = await self._copies(parked)
        below = {offset: copy for offset, copy in copies.items() if offset < start}
        standing = Standing(
            *(min(first, end), end, self.transforms),
            Around(
                start,
                held,
                position.outcomes,
                frozenset(copy.key for copy in below.values() if copy.key is not None),
                lambda offset, record: self._gone(fitting, offset, record),
            ),
        )
        until = (await self._reader.end_offsets([outcomes]))[outcomes]
        await self._read(outcomes, min(told_from, position.outcomes), until, standing.take)
        asked = self._asked
        made = self.transforms.known(asked.transform) if asked.transform else None
        chosen = Chosen(standing, fitting, asked.codes, self.content, made)
        if asked.dead_letters:
            chosen.parked = copies.__contains__
        at = {offset: copy.at for offset, copy in below.items()}
        part = Part(number, chosen, end, until, standing.epoch, position.events, at)
        wanted = self._early(part, standing, fitting, below, made)
        if wanted:
            await read_all(self._reader, parked, 0, None, lambda one: _add_copy(chosen, wanted, one))
        await self._read(events, standing.first, end, chosen.take)
        standing.forget()
        return part

    def _early(
        self, part: Part, standing: Standing, fitting: Fitting, below: dict[int, Copy], made: int | None
    ) -> dict[int, tuple[int, int]]:
        """Adds what is gone; of the copies that fit, where each stands, and its status."""
        codes, wanted = self._asked.codes, dict[int, tuple[int, int]]()
        for offset, copy in below.items():
            before = standing.before.get(offset)
            code = (DEAD if copy.dead else HELD) if before is None else before.code
            if code in codes and made is None and code in (DEAD, HELD, HOLDING):
                known = Known.said(copy.key, copy.headers, copy.time)
                if fitting.fits(offset, known):
                    wanted[offset] = copy.at, code
        if self._asked.dead_letters:
            return wanted
        for offset, one in standing.before.items():
            if offset not in below and one.code in codes and made in (None, one.transform):
                part.chosen.add(offset, one.code, one.known, transform=one.transform, parked=False)
        if EXPIRED in codes and made is None and fitting.unknowing:
            nothing = Known(0, None, None, None, None)
            for offset in {one for span in standing.lost for one in range(*span)} - standing.before.keys():
                if fitting.spans(offset):
                    part.chosen.add(offset, EXPIRED, nothing, parked=False)
        return wanted

    def _gone(self, fitting: Fitting, offset: int, record: Any) -> Known | None:
        """What an outcome says of an event that the log has no more; None where it is not meant."""
        headers = dict(record.headers)
        said: int | None = None
        if Headers.ACCEPTED_AT in headers:
            said = accepted_at(headers[Headers.ACCEPTED_AT], record.timestamp)
        else:
            try:
                said = self._outcome.decode(record.value)["acceptedAt"]
            except Poison:
                said = None
        known = Known(
            record.timestamp * 1000 if said is None else said,
            record.key,
            headers.get(Headers.MESSAGE_ID),
            headers.get(Headers.CORRELATION_ID),
            self._flow.type.encode(),
        )
        return known if fitting.fits(offset, known) else None

    async def _owner(self, number: int) -> tuple[Position, set[bytes]]:
        """Where the partition's owner stood last, and the keys that were held then."""
        held: set[bytes] = set()
        positions = [Position()]

        def take(record: Any) -> None:
            if record.key == POSITION and record.value is not None:
                positions[0] = self._state.decode(record.value)
            elif record.key is not None and record.key.startswith(HOLD):
                (held.discard if record.value is None else held.add)(record.key.removeprefix(HOLD))

        await read_all(self._reader, TopicPartition(self._topics.state, number), 0, None, take)
        return positions[0], held

    async def _copies(self, parked: TopicPartition) -> dict[int, Copy]:
        copies: dict[int, Copy] = {}

        def take(record: Any) -> None:
            copy = Copy(record)
            copies.pop(copy.offset, None)
            if not copy.gone:
                copies[copy.offset] = copy.without_content()

        await read_all(self._reader, parked, 0, None, take)
        return copies

    async def _read(self, tp: TopicPartition, start: int, end: int, take: Callable[[list[Any]], None]) -> None:
        if start >= end:
            return
        self._reader.assign([tp])
        self._reader.seek(tp, start)
        empty = 0
        while await self._reader.position(tp) < end:
            records = (await self._reader.getmany(tp, timeout_ms=_FETCH_MS)).get(tp, [])
            empty = 0 if records else empty + 1
            if empty > _EMPTY:
                raise TimeoutError
            self.scanned += len(records)
            take(records if not records or records[-1].offset < end else [one for one in records if one.offset < end])
            self._say()

    def _say(self, *, done: bool = False) -> None:
        now = time.monotonic()
        if done or now - self._told_at >= _TELL:
            self._told_at = now
            self._tell(self.scanned, self.scanned if done else max(self._total, self.scanned), self.selected)

    def _made(self, value: bytes) -> str | None:
        try:
            made: str | None = self._outcome.decode(value)["transform"]
        except Poison:
            return None
        return made


def _add_copy(chosen: Chosen, wanted: dict[int, tuple[int, int]], record: Any) -> None:
    copy = Copy(record)
    at, code = wanted.get(copy.offset, (-1, 0))
    if at == copy.at and not copy.gone:
        known = Known.said(copy.key, copy.headers, copy.time)
        chosen.add(copy.offset, code, known, value=record.value, parked=True)
