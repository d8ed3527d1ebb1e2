"""Reads all logs of a partition, and finds what its state is to be. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.egress.own.fit import misplaced
from linkspan.egress.partition.ids import Ids
from linkspan.egress.restore.known import Events, Known
from linkspan.egress.restore.mend import Mend, Mending
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.hold import Hold
from linkspan.kernel.records.parked import Copy
from linkspan.kernel.records.position import Position
from linkspan.kernel.records.state import HOLD, IDS, POSITION, StateCodec
from linkspan.kernel.spec import Duplicates
from linkspan.kernel.topics import FlowTopics, Headers


@dataclass(slots=True)
class OldState:
    """What ``state`` has. ``slots``: keys of its ids."""

    position: Position = field(default_factory=Position)
    holds: dict[bytes, Hold] = field(default_factory=dict)
    slots: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class Found:
    """Of one partition. ``position``: as it is to be, but for what is known only when the logs have their gaps.

    ``events``, ``outcomes``: (first, end) of the log; ``named``: the highest event offset that anything names,
    ``control``: the highest command; ``lost``: message ids by event offset, that outcomes name and the log has not;
    ``waited``: outcomes of what is copied anew or given up; ``taken``: offsets of lost events where a newer message
    stands; ``moved``: by how many offsets the events stand elsewhere; ``again``: events that will be delivered, marked;
    ``why``: what an owner would refuse, if anything; ``done``: it was restored before.
    """

    flow: str
    partition: int
    topics: FlowTopics
    old: OldState
    position: Position
    mending: Mending
    ids: list[tuple[int, int, bytes]]
    events: tuple[int, int]
    outcomes: tuple[int, int]
    parked_end: int
    named: int
    control: int
    lost: dict[int, str]
    waited: dict[int, bytes | None]
    taken: int
    moved: int
    again: int
    why: str | None
    done: bool = False

    @property
    def holds(self) -> Mapping[bytes, Hold]:
        return self.mending.holds

    def tp(self, topic: str) -> TopicPartition:
        return TopicPartition(topic, self.partition)


class Look:
    """``named``: the highest event offset of each partition that commands and plans name; ``control_end``: where that
    log ends."""

    def __init__(
        self,
        reader: AIOKafkaConsumer,
        codec: StateCodec,
        integration: str,
        cluster: str,
        named: Mapping[tuple[str, int], int],
        control_end: int,
    ) -> None:
        self._reader, self._codec, self._integration = reader, codec, integration
        self._cluster, self._named, self._control_end = cluster, named, control_end

    async def at(self, flow: str, partition: int, duplicates: Duplicates) -> Found:
        """Raises KafkaError, Poison."""
        topics = FlowTopics.of(self._integration, flow)
        old = await self._state(TopicPartition(topics.state, partition))
        copies, parked_end = await self._copies(TopicPartition(topics.parked, partition))
        events = await self._events(TopicPartition(topics.events, partition))
        outcomes = TopicPartition(topics.outcomes, partition)
        first, end = await self._bounds(outcomes)
        ids = Ids(duplicates.count, int(duplicates.within * 1000))
        known = Known(events, old.position, old.holds, end, ids, copies.keys())
        await read_all(self._reader, outcomes, first, end, known.outcome)
        mending = Mend(known, copies).result()
        ends = {"events": events.end, "outcomes": end, "parked": parked_end, "control": self._control_end}
        return self._found(flow, partition, topics, old, known, mending, (first, end), ends)

    def _found(  # noqa: PLR0913, PLR0917 - it is the sum of them
        self,
        flow: str,
        partition: int,
        topics: FlowTopics,
        old: OldState,
        known: Known,
        mending: Mending,
        outcomes: tuple[int, int],
        ends: Mapping[str, int],
    ) -> Found:
        events = known.events
        start, finished = events.position()
        charged = tuple(one for one in known.charged if events.is_unfinished(one[0]))
        again = events.unfinished
        return Found(
            flow,
            partition,
            topics,
            old,
            Position(known.highest_epoch, start, finished, charged, control=known.control, cluster=self._cluster),
            mending,
            known.ids.changed(),
            (events.first, events.end),
            outcomes,
            ends["parked"],
            max(known.highest, self._named.get((flow, partition), -1)),
            known.highest_control,
            known.lost,
            {one: known.waiting[one].value for one in (*mending.given_up, *mending.remade)},
            len(known.foreign),
            known.moved,
            again,
            _refused(old, ends, known, self._cluster),
            old.position.cluster == self._cluster and old.position.marked > 0,
        )

    async def _bounds(self, tp: TopicPartition) -> tuple[int, int]:
        first = (await self._reader.beginning_offsets([tp]))[tp]
        return int(first), int((await self._reader.end_offsets([tp]))[tp])

    async def _state(self, state: TopicPartition) -> OldState:
        old = OldState()

        def take(record: Any) -> None:
            key: bytes = record.key or b""
            if key == POSITION and record.value is not None:
                old.position = self._codec.decode(record.value)
            elif key.startswith(HOLD):
                old.holds.pop(key.removeprefix(HOLD), None)
                if record.value is not None:
                    old.holds[key.removeprefix(HOLD)] = self._codec.decode_hold(record.value)
            elif key.startswith(IDS):
                old.slots.add(key)

        await read_all(self._reader, state, 0, None, take)
        return old

    async def _copies(self, parked: TopicPartition) -> tuple[dict[int, Copy], int]:
        copies: dict[int, Copy] = {}

        def take(record: Any) -> None:
            copy = Copy(record)
            copies.pop(copy.offset, None)
            if not copy.gone and copy.offset >= 0:
                copies[copy.offset] = copy.without_content()

        return copies, await read_all(self._reader, parked, 0, None, take)

    async def _events(self, tp: TopicPartition) -> Events:
        events = Events(*await self._bounds(tp))

        def take(record: Any) -> None:
            events.add(record.offset, dict(record.headers).get(Headers.MESSAGE_ID))

        await read_all(self._reader, tp, events.first, events.end, take)
        return events


def _refused(old: OldState, ends: Mapping[str, int], known: Known, cluster: str) -> str | None:
    """What an owner would say."""
    said = misplaced(old.position, old.holds.values(), ends, cluster)
    if said is None and known.lost and max(known.lost) >= max(ends["events"], old.position.marked):
        said = f"events ends at {ends['events']} and an outcome names {max(known.lost)}"
    if said is None and known.foreign:
        said = f"an outcome names the event {max(known.foreign)}, where another message stands"
    return said
