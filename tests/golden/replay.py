"""What today's code makes of a recorded history, as plain data."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from typing import Any

import msgspec

from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.holds import Holds
from linkspan.egress.partition.ids import Ids
from linkspan.egress.partition.memory import Memory
from linkspan.egress.partition.state import PartitionState
from linkspan.egress.partition.window import WindowLimits
from linkspan.egress.prepare import Preparation
from linkspan.egress.record.outcome import message_of
from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.errors import Poison
from linkspan.kernel.records.event import Event
from linkspan.kernel.records.hold import Hold
from linkspan.kernel.records.outcome import fact_of
from linkspan.kernel.records.parked import Copy
from linkspan.kernel.records.position import Position
from linkspan.kernel.records.state import HOLD, IDS, POSITION, StateCodec
from linkspan.kernel.resilience.retry import RetryPolicy
from linkspan.kernel.spec_file import catalog_for
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.kernel.topics import Headers
from linkspan.readmodel.account import outcome_said
from linkspan.readmodel.tally import Counts, PartitionTally
from linkspan.transform.transform import Transform
from tests.golden.history import History, Recorded

Json = dict[str, Any]


class Replay:
    """One history through decoding, transform, fold, account, and an owner that takes over where it ends."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._catalog = catalog_for(history.integration)
        self._states, self._outcomes = StateCodec(self._catalog), OutcomeCodec(self._catalog)

    def results(self) -> Json:
        partitions = range(self._history.partitions)
        return {
            "events": [one for number in partitions for one in self._events(number)],
            "outcomes": [one for number in partitions for one in self._said(number)],
            "parked": [one for number in partitions for one in self._copies(number)],
            "end": self.standing(),
            "cuts": [{"at": at} | Replay(self._history.until(at)).standing() for at in self._history.cuts()],
        }

    def standing(self) -> Json:
        """What became of everything so far, and who would take over now."""
        partitions = range(self._history.partitions)
        return {"account": self._account(), "successors": [self._successor(number) for number in partitions]}

    def _events(self, partition: int) -> list[Json]:
        integration, flow = self._history.integration, self._history.flow
        with tempfile.TemporaryDirectory() as blobs:
            transform = Transform(integration, flow, self._catalog, BlobStore(blobs))
            preparation = Preparation(integration, flow, self._catalog, transform, Tracing(None, 0.0))
            return [_event(preparation, record) for record in self._history.of("events", partition)]

    def _said(self, partition: int) -> list[Json]:
        """Record and headers of each outcome."""
        return [
            {"partition": partition, "at": record.offset, "record": self._outcomes.decode(record.value)}
            | {"fact": msgspec.structs.asdict(fact_of(record)) | {"key": _text(record.key)}}
            for record in self._history.of("outcomes", partition)
        ]

    def _copies(self, partition: int) -> list[Json]:
        found = []
        for record in self._history.of("parked", partition):
            copy = Copy(record)
            said = {name: copy.said(name) for name in (Headers.PARKED_KIND, Headers.PARKED_FAILURE)}
            reason = copy.said(Headers.PARKED_REASON)
            where = {"partition": partition, "at": record.offset, "event": copy.offset, "gone": copy.gone}
            found.append(where | {"key": _text(copy.key)} | said | {"reason": reason})
        return found

    def _account(self) -> Json:
        counts = Counts()
        for partition in range(self._history.partitions):
            events = [record.offset for record in self._history.of("events", partition)]
            tally = PartitionTally(0, max(events, default=-1) + 1)
            for offset in events:
                tally.event(offset)
            for record in self._history.of("outcomes", partition):
                said = outcome_said(record)
                if said is not None:
                    tally.outcome(*said)
            counts.add(tally.counts(self.state(partition)[0].events))
        return asdict(counts) | {"balanced": counts.balanced}

    def state(self, partition: int, until: int | None = None) -> tuple[Position, dict[bytes, Hold], Ids]:
        """``state`` as one reads it back, from the records up to the offset ``until``."""
        position, holds, slots = Position(), dict[bytes, Hold](), dict[bytes, tuple[int, bytes]]()
        for record in self._history.of("state", partition):
            if until is not None and record.offset > until:
                break
            key = record.key or b""
            if key == POSITION:
                position = self._states.decode(record.value)
            elif key.startswith(HOLD):
                holds.pop(key.removeprefix(HOLD), None)
                if record.value is not None:
                    holds[key.removeprefix(HOLD)] = self._states.decode_hold(record.value)
            elif key.startswith(IDS) and record.value is not None:
                slots[key] = self._states.decode_ids(record.value)
        ids = Ids(4096, 10**15)
        ids.restore(slots.values())
        return position, holds, ids

    def memory(self, partition: int, until: int | None = None) -> Memory:
        """The fold of all outcomes after that ``state``."""
        position, holds, ids = self.state(partition, until)
        copies: dict[int, tuple[int, bytes | None]] = {}
        for record in self._history.of("parked", partition):
            copy = Copy(record)
            if copy.gone:
                copies.pop(copy.offset, None)
            elif record.offset >= position.parked:
                copies[copy.offset] = copy.at, copy.key
        memory = Memory(position, Holds(holds, position.redriven), ids, copies)
        for record in self._history.of("outcomes", partition):
            fact = fact_of(record)
            if record.offset >= position.outcomes and not fact.plan:
                memory.fold(record.offset, fact)
        return memory

    def remembered(self, partition: int, until: int | None = None) -> Json:
        """What a successor knows; the same whichever checkpoint it began with."""
        memory = self.memory(partition, until)
        events = self._history.of("events", partition)
        keys = sorted({record.key for record in events if record.key is not None})
        return {
            "holds": [[_text(key), asdict(memory.holds[key])] for key in keys if key in memory.holds],
            "position": asdict(memory.position(self.state(partition)[0].events)),
        }

    def checkpoints(self, partition: int) -> list[int]:
        """Offsets of the positions in ``state``."""
        return [record.offset for record in self._history.of("state", partition) if record.key == POSITION]

    def _successor(self, partition: int) -> Json:
        memory = self.memory(partition)
        found = self.remembered(partition) | {"stale": memory.stale, "orphans": memory.orphans()}
        return found | self._goes_on(partition, memory)

    def _goes_on(self, partition: int, memory: Memory) -> Json:
        """What the successor sends and parks, in order, where the destination takes everything."""
        events = self._history.of("events", partition)
        position = self.state(partition)[0]
        holds = self._history.integration.flows[self._history.flow].on_dead_letter == "hold"
        state = PartitionState(RetryPolicy(), WindowLimits(), memory, 0, hold=holds)
        state.fetched([message_of(Event.of(record)) for record in events if record.offset >= position.events])
        outcomes = self._history.of("outcomes", partition)
        at, sent, decided = max((one.offset for one in outcomes), default=-1), [], []
        waiting: list[Record] = state.effects()
        while True:
            for message in list(state.next_deliveries(1_000, 0.0)):
                effect = state.judged(message, 0)
                if effect is None:
                    sent.append(message.offset)
                    effect = state.answered(message, None, 0.0)
                waiting += [effect] if effect else []
            if not waiting:
                return {"sends": sent, "decides": decided}
            for effect in waiting:
                at += 1
                if effect.kind != "delivered":
                    decided.append([effect.kind, effect.message.offset])
                state.outcome_acked(effect, at, 10**6 + at)
            waiting = state.effects()


def _event(preparation: Preparation, record: Recorded) -> Json:
    event = Event.of(record)
    where = {"partition": record.partition, "offset": record.offset, "key": _text(record.key)}
    facts = {"id": event.message_id, "acceptedAt": event.accepted_at, "urgency": event.urgency}
    try:
        made = preparation.now(event)
    except Poison as error:
        return where | facts | {"poison": error.reason}
    assert made is not None, "a history has no transform that waits"
    return where | facts | {"sends": {"header": made.header, "payload": made.payload, "metadata": made.metadata}}


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")
