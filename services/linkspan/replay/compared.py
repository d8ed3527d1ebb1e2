"""Samples of a plan: some of its events, and what the transform makes of them today, beside what it made then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.codec import Datum
from linkspan.kernel.errors import DeliveryError, UserMistake
from linkspan.kernel.records.parked import Copy
from linkspan.kernel.records.plan import SENT, Planned, ReplayOptions, Stood, unsent
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration
from linkspan.kernel.topics import FlowTopics
from linkspan.replay.content import EventContent
from linkspan.replay.known import Known
from linkspan.transform import Transform

#: A transform may take so long for a sample, seconds.
_LIMIT = 20.0
#: Longer results are compared, not shown.
_SHOWN = 60_000
_READ_MS = 1_000


class Sample(msgspec.Struct, frozen=True):
    """``now``, ``then``: JSON of what the transform makes of it today, and of what the one of then does; empty where
    ``error`` says why, or it was not asked for. ``transform``: hash of the one of then."""

    partition: int
    offset: int
    message_id: str
    key: str | None
    accepted: int
    status: str
    disposition: str
    now: str = ""
    then: str = ""
    error: str = ""
    transform: str = ""
    differs: bool = False


def places(records: int, count: int) -> list[int]:
    """``count`` places spread evenly over a list, the first and the last among them."""
    if records <= count:
        return list(range(records))
    return sorted({number * (records - 1) // max(1, count - 1) for number in range(count)})


class Versions:
    """Today's, and those of then by the texts that were kept. ``close`` at the end."""

    def __init__(
        self, integration: Integration, flow: str, catalog: SchemaCatalog, blobs: BlobStore, texts: Mapping[str, str]
    ) -> None:
        self._made: dict[str, Transform | UserMistake] = {}
        self._of = integration, flow, catalog, blobs
        self._texts = texts

    def today(self) -> Transform:
        """Raises UserMistake."""
        return self._get("")

    def then(self, hash_: str) -> Transform:
        """Raises UserMistake: its text is not known, or it cannot run here."""
        return self._get(hash_)

    def _get(self, hash_: str) -> Transform:
        found = self._made.get(hash_)
        if found is None:
            found = self._made[hash_] = self._make(hash_)
        if isinstance(found, UserMistake):
            raise found
        return found

    def _make(self, hash_: str) -> Transform | UserMistake:
        try:
            if not hash_:
                return Transform(*self._of)
            if hash_ not in self._texts:
                return UserMistake(f"the text of the transform {hash_} is not known")
            return Transform.as_of(self._texts[hash_], *self._of)
        except UserMistake as error:
            return error

    async def close(self) -> None:
        for one in self._made.values():
            if isinstance(one, Transform):
                await one.close()


@dataclass(frozen=True, slots=True)
class Picked:
    """A record of the list to be shown. ``at``: its place in ``parked``, None where it is an event."""

    partition: int
    planned: Planned
    status: str
    transform: str
    at: int | None


class Comparing:
    """``transforms`` None: nothing is compared."""

    def __init__(
        self, reader: AIOKafkaConsumer, topics: FlowTopics, content: EventContent, transforms: Versions | None
    ) -> None:
        self._reader, self._topics, self._content, self._transforms = reader, topics, content, transforms

    async def samples(self, picked: Iterable[Picked]) -> list[Sample]:
        """Raises KafkaError."""
        return [await self._sample(one) for one in picked]

    async def _sample(self, one: Picked) -> Sample:
        record, planned = await self._record(one), one.planned
        known = None if record is None else _known(record, parked=one.at is not None)
        key = None if known is None or known.key is None else known.key.decode("utf-8", "replace")
        sample = Sample(
            one.partition,
            planned.offset,
            "" if known is None else (known.message_id or b"").decode("utf-8", "replace"),
            key,
            0 if known is None else known.accepted,
            one.status,
            unsent(Stood.of(planned.code), ReplayOptions()) or SENT,
            transform=one.transform,
        )
        if self._transforms is None or record is None:
            return sample
        return await self._compared(sample, record.value, self._transforms)

    async def _compared(self, sample: Sample, value: bytes | None, transforms: Versions) -> Sample:
        message, _ = self._content.read(value)
        if message is None:
            return msgspec.structs.replace(sample, error="its bytes cannot be read")
        now, error = await made_by(message, transforms, "")
        then, of_then = await made_by(message, transforms, sample.transform) if sample.transform else ("", "")
        return msgspec.structs.replace(
            sample,
            now=now if len(now) <= _SHOWN else "",
            then=then if len(then) <= _SHOWN else "",
            error=error or of_then or _too_long(now, then),
            differs=bool(now and then and now != then),
        )

    async def _record(self, one: Picked) -> Any:
        """None where it is gone."""
        topic, offset = (self._topics.events, one.planned.offset) if one.at is None else (self._topics.parked, one.at)
        tp = TopicPartition(topic, one.partition)
        self._reader.assign([tp])
        if offset < (await self._reader.beginning_offsets([tp]))[tp]:
            return None
        self._reader.seek(tp, offset)
        found = (await self._reader.getmany(tp, timeout_ms=_READ_MS, max_records=1)).get(tp, [])
        return next((record for record in found if record.offset == offset), None)


def _known(record: Any, *, parked: bool) -> Known:
    if not parked:
        return Known.of(record)
    copy = Copy(record)
    return Known.said(copy.key, copy.headers, copy.time)


async def made_by(message: Datum, transforms: Versions, hash_: str) -> tuple[str, str]:
    """JSON with sorted keys, or why there is none."""
    when = "then" if hash_ else "today"
    try:
        async with asyncio.timeout(_LIMIT):
            made = await (transforms.then(hash_) if hash_ else transforms.today()).apply(message)
    except DeliveryError as error:
        return "", f"{when}: {error.reason}"
    except UserMistake as error:
        return "", f"{when}: {error}"
    except TimeoutError:
        return "", f"{when}: it took longer than {_LIMIT:g} s"
    return msgspec.json.encode(made, order="sorted").decode(), ""


def _too_long(*texts: str) -> str:
    longest = max(map(len, texts))
    return f"{longest:,} characters are too long to be shown" if longest > _SHOWN else ""
