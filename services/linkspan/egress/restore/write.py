"""Writes what a restored partition needs, so that an owner can take it over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from aiokafka import TopicPartition

from linkspan.egress.own.copies import Copies
from linkspan.egress.own.store import StateStore, Writing
from linkspan.egress.partition.effect import Record
from linkspan.egress.record.outcome import OutcomeWriter, message_of
from linkspan.egress.record.parked import copied, parked_copy
from linkspan.egress.restore.look import Found
from linkspan.kernel.codec import Datum, OutcomeCodec
from linkspan.kernel.errors import DeliveryError, FailureClass, Poison
from linkspan.kernel.kafka.clients import KafkaClients, stop_consumer, stop_producer
from linkspan.kernel.records.event import Event, RecordHeaders
from linkspan.kernel.records.fact import DEAD, DISCARDED, HELD
from linkspan.kernel.records.hold import Hold
from linkspan.kernel.records.parked import Copy, copy_key
from linkspan.kernel.records.state import HOLD, IDS, POSITION, StateCodec
from linkspan.kernel.topics import Headers

_BEHIND = "found in parked when Kafka was restored: what it waited behind, or its own event and outcome, is lost"
_GONE = "Kafka was restored, and neither its events nor parked have this message: ask the sender for it"
#: Records of one transaction.
_MOST = 200
_FETCH_MS = 2_000


class _Said(DeliveryError):
    """As an outcome, or a copy, said it."""

    def __init__(self, failure: str | None, reason: str) -> None:
        super().__init__(reason)
        known = {one.value for one in FailureClass}
        self.failure = FailureClass(failure) if failure in known else FailureClass.REJECTED


class Writer:
    """Of one integration."""

    def __init__(self, clients: KafkaClients, integration: str, states: StateCodec, outcomes: OutcomeCodec) -> None:
        self._clients, self._integration, self._states, self._outcomes = clients, integration, states, outcomes

    async def write(self, found: Found, destination: str, end: int) -> None:
        """``end``: where the log of events ends, with its gap. What is cut off is done again by the next one. Raises
        KafkaError, StateLost."""
        epoch = found.position.epoch + 1
        written = [found.tp(found.topics.state), found.tp(found.topics.parked)]
        store = StateStore(self._clients, f"{self._integration}.{found.flow}.{found.partition}", written)
        await store.start()
        try:
            letters = await self._letters(found)
            copies = await self._copies(found, letters, epoch)
            parked_end = found.parked_end
            for part in (copies[at : at + _MOST] for at in range(0, len(copies), _MOST)):
                parked_end = max(await store.write(part)) + 1
            outcomes_end = await self._append(found, letters, OutcomeWriter(self._outcomes, destination, ""), epoch)
            position = replace(
                found.position,
                epoch=epoch,
                events=found.position.events if found.again else end,
                outcomes=outcomes_end,
                outcomes_epoch=epoch,
                redriven=tuple(sorted(found.mending.redriven)),
                parked=parked_end,
                marked=end,
                checked=outcomes_end,
            )
            state = found.tp(found.topics.state)
            await store.write([*self._state(found), (state, POSITION, self._states.encode(position), [])])
        finally:
            store.discard()

    def _state(self, found: Found) -> Iterator[Writing]:
        """All holds and ids as they are to be; what was there and is not any more is deleted."""
        state = found.tp(found.topics.state)
        for key in found.old.holds.keys() | found.holds.keys():
            yield state, HOLD + key, self._states.encode_hold(found.holds.get(key)), []
        slots = {IDS + b"%d" % place: (serial, entries) for place, serial, entries in found.ids}
        for key in found.old.slots | slots.keys():
            value = self._states.encode_ids(*slots[key]) if key in slots else None
            yield state, key, value, []

    async def _letters(self, found: Found) -> dict[int, Copy]:
        """Copies with their content that become something else."""
        wanted = [*found.mending.dead, *found.mending.adopted]
        copies = Copies(self._clients, found.tp(found.topics.parked))
        try:
            return await copies.find(wanted) if wanted else {}
        finally:
            await copies.close()

    async def _copies(self, found: Found, letters: dict[int, Copy], epoch: int) -> list[Writing]:
        parked, made = found.tp(found.topics.parked), list[Writing]()
        events = await self._events(found.tp(found.topics.events), found.mending.remade)
        for offset, event in events.items():
            said = self._said(found.waited[offset])
            error = _Said(said.get("failure"), said["reason"]) if said.get("reason") else None
            message = message_of(event)
            message.charged = said.get("attempt", 0)
            made.append((parked, *parked_copy(Record(message, said.get("kind", HELD), error), event, epoch)))
        for offset in found.mending.dead:
            effect = _letter(found, letters[offset])
            made.append((parked, *parked_copy(effect, effect.message.record, epoch)))
        return made + [(parked, copy_key(offset), None, []) for offset in found.mending.dropped]

    async def _events(self, events: TopicPartition, offsets: Sequence[int]) -> dict[int, Event]:
        reader, found = self._clients.reader(), dict[int, Event]()
        try:
            await reader.start()
            reader.assign([events])
            for offset in sorted(offsets):
                reader.seek(events, offset)
                for record in (await reader.getmany(events, timeout_ms=_FETCH_MS, max_records=1)).get(events, ()):
                    found[record.offset] = Event.of(record)
            return found
        finally:
            await stop_consumer(reader)

    def _said(self, value: bytes | None) -> Datum:
        try:
            return self._outcomes.decode(value)
        except Poison:
            return {}

    async def _append(self, found: Found, letters: dict[int, Copy], writer: OutcomeWriter, epoch: int) -> int:
        """``owner(epoch)``, and what was decided here; the offset after the last of them."""
        lines: list[tuple[bytes | None, tuple[bytes, RecordHeaders]]] = [(None, writer.owner(epoch))]
        for effect in self._decided(found, letters):
            line = writer.write(effect, effect.message.record, None, epoch)
            lines.append((effect.message.key, line))
        outcomes = found.tp(found.topics.outcomes)
        producer = self._clients.producer()
        await producer.start()
        try:
            end = 0
            for key, (value, headers) in lines:
                at: Any = await producer.send_and_wait(outcomes.topic, value, key, outcomes.partition, headers=headers)
                end = int(at.offset) + 1
            return end
        finally:
            await stop_producer(producer)

    def _decided(self, found: Found, letters: dict[int, Copy]) -> Iterator[Record]:
        for offset in found.mending.given_up:
            said = self._said(found.waited[offset])
            event = _named(offset, said)
            yield Record(message_of(event), DISCARDED, _Said(None, _GONE))
        for offset in sorted({*found.mending.dead, *found.mending.adopted}):
            copy = letters[offset]
            if offset in found.mending.dead:
                yield _letter(found, copy)
            else:
                yield Record(copied(copy), DEAD if copy.dead else HELD, None, hold=True)


def _letter(found: Found, copy: Copy) -> Record:
    """The copy as a dead letter."""
    hold: Hold | None = found.holds.get(copy.key) if copy.key is not None else None
    reason = copy.said(Headers.PARKED_REASON) if copy.dead else _BEHIND
    error = _Said(copy.said(Headers.PARKED_FAILURE), reason or _BEHIND)
    return Record(copied(copy), DEAD, error, hold=hold is not None and hold.dead == copy.offset)


def _named(offset: int, said: Datum) -> Event:
    """Of an event that is gone, as its outcome names it."""
    headers = [
        (header, said[name].encode())
        for header, name in ((Headers.MESSAGE_ID, "messageId"), (Headers.CORRELATION_ID, "correlationId"))
        if said.get(name)
    ]
    key = said.get("key")
    return Event.made(offset, key.encode() if key else None, None, headers, (said.get("acceptedAt") or 0) // 1000)
